from .base_to_new import base_to_new_jobs as base_to_new_jobs
from .demo import run_demo as run_demo
from .grounding.demo import run_grounding_demo as run_grounding_demo
from .grounding.gallery import write_gallery as write_gallery
from .grounding.jobs import SharedFields as SharedFields, grounding_jobs as grounding_jobs
from .grounding.report import (
    grounding_page as grounding_page,
    write_grounding_results as write_grounding_results,
)
from .plug_in.design import FOCUS as FOCUS, LEARNERS as LEARNERS, STEPS as STEPS
from .plug_in.jobs import plug_in_jobs as plug_in_jobs
from .plug_in.summary import (
    FILE as FILE,
    update_summary as update_summary,
    write_summary as write_summary,
)
from .published.against import HEADING as HEADING
from .reported import STUDIES as STUDIES, studies_against as studies_against
from .shared import Shared as Shared
from .shift.design import find_worlds as find_worlds
from .shift.jobs import (
    shift_jobs as shift_jobs,
    unwritten_targets as unwritten_targets,
    write_targets as write_targets,
)
from .transfer import (
    cross_dataset_jobs as cross_dataset_jobs,
    domain_jobs as domain_jobs,
    few_shot_jobs as few_shot_jobs,
)
