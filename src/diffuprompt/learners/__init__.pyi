from .base import (
    Learner as Learner,
)
from .classes import (
    Classes as Classes,
)
from .cocoop_learner import (
    CoCoOp as CoCoOp,
)
from .legacy_keys import (
    LegacyKeys as LegacyKeys,
)
from .losses.step import (
    Step as Step,
)
from .losses.step import (
    Term as Term,
)
from .method import (
    Method as Method,
)
from .method import (
    Preset as Preset,
)
from .method import (
    TrainConfig as TrainConfig,
)
from .methods import (
    DEFAULT as DEFAULT,
)
from .methods import (
    METHODS as METHODS,
)
from .methods import (
    register as register,
)
from .methods.cocoop import (
    CoCoOpOptions as CoCoOpOptions,
)
from .options import (
    Options as Options,
)
from .options import (
    changed as changed,
)
from .options import (
    settable as settable,
)
from .presets import (
    all_presets as all_presets,
)
from .presets import (
    automatic_preset as automatic_preset,
)
from .presets import (
    epochs_for_shots as epochs_for_shots,
)
from .presets import (
    find_method as find_method,
)
from .presets import (
    find_preset as find_preset,
)
from .prompt_learner import (
    PromptLearner as PromptLearner,
)
from .prompt_options import (
    PromptOptions as PromptOptions,
)
from .registry import (
    build_learner as build_learner,
)
from .registry import (
    upgrade_options as upgrade_options,
)
