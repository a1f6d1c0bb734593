from .entry import MatrixJob as MatrixJob, Runnable as Runnable
from .grounding import plan_grounding as plan_grounding
from .planning import plan as plan
from .run import run_matrix as run_matrix
