from .base import Learner as Learner
from .classes import Classes as Classes
from .legacy_keys import LegacyKeys as LegacyKeys
from .losses.step import Step as Step, Term as Term
from .method import Method as Method, Preset as Preset, TrainConfig as TrainConfig
from .methods import (
    DEFAULT as DEFAULT,
    METHODS as METHODS,
    UNTRAINED as UNTRAINED,
    register as register,
)
from .options import Options as Options, changed as changed, needed as needed, settable as settable
from .presets import (
    all_presets as all_presets,
    automatic_preset as automatic_preset,
    epochs_for_shots as epochs_for_shots,
    find_method as find_method,
    find_preset as find_preset,
)
from .prompt_learner import PromptLearner as PromptLearner
from .prompt_options import PromptOptions as PromptOptions
from .registry import build_learner as build_learner, upgrade_options as upgrade_options
from .teachers import TemplateTeacher as TemplateTeacher
