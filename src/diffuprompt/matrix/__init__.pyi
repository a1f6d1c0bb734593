from .entry import MatrixJob as MatrixJob
from .planning import plan as plan
from .run import run_matrix as run_matrix
