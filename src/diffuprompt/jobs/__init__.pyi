from .baseline import zero_shot_hits as zero_shot_hits
from .calibrate import calibrate_run as calibrate_run, unknown_pictures as unknown_pictures
from .evaluate import evaluate_run as evaluate_run
from .evaluation import Evaluation as Evaluation
from .folds import Fold as Fold, folds_of as folds_of, hold_out as hold_out
from .grounding.folder import GroundingRun as GroundingRun
from .grounding.job import VAL as VAL, GroundingJobConfig as GroundingJobConfig
from .grounding.opening import scored_set as scored_set
from .grounding.run import (
    evaluate_grounding as evaluate_grounding,
    grounding_folder as grounding_folder,
    grounding_run as grounding_run,
    resolved_settings as resolved_settings,
    train_grounding as train_grounding,
)
from .job import GENERATORS as GENERATORS, NO_GENERATOR as NO_GENERATOR, JobConfig as JobConfig
from .job_json import job_from_json as job_from_json, job_to_json as job_to_json
from .long_names import names_too_long as names_too_long
from .overrides import read_options as read_options
from .prepared import (
    Prepared as Prepared,
    image_set as image_set,
    prepare as prepare,
    store_beside as store_beside,
)
from .run_folder import RunFolder as RunFolder
from .sources import Sources as Sources
from .test_sets import unscored as unscored, wanted_test_sets as wanted_test_sets
from .train import (
    folder_of as folder_of,
    run_of as run_of,
    train_job as train_job,
    train_or_find as train_or_find,
    train_stages as train_stages,
)
