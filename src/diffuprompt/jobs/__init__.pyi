from .evaluate import (
    evaluate_run as evaluate_run,
)
from .evaluation import (
    Evaluation as Evaluation,
)
from .job import (
    GENERATORS as GENERATORS,
)
from .job import (
    JobConfig as JobConfig,
)
from .overrides import (
    read_options as read_options,
)
from .prepared import (
    Prepared as Prepared,
)
from .prepared import (
    Sources as Sources,
)
from .prepared import (
    prepare as prepare,
)
from .run_folder import (
    RunFolder as RunFolder,
)
from .run_folder import (
    job_from_json as job_from_json,
)
from .run_folder import (
    job_to_json as job_to_json,
)
from .test_sets import (
    missing as missing,
)
from .test_sets import (
    own_test_sets as own_test_sets,
)
from .train import (
    folder_of as folder_of,
)
from .train import (
    run_of as run_of,
)
from .train import (
    train_job as train_job,
)
