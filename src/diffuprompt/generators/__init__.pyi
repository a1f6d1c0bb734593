from .base import PromptGenerator as PromptGenerator
from .config import (
    DiffusionConfig as DiffusionConfig,
    FitConfig as FitConfig,
    OverfitConfig as OverfitConfig,
    RivalConfig as RivalConfig,
    stated as stated,
)
from .controls import (
    MeanResidual as MeanResidual,
    Nearest as Nearest,
    NoiseFeatures as NoiseFeatures,
    shuffled_order as shuffled_order,
)
from .descent import Logits as Logits, Problem as Problem, descend as descend
from .fitting import FitTask as FitTask, fit as fit, quality as quality
from .joint import Base as Base, fit_joint as fit_joint
from .kinds import KINDS as KINDS
from .label_space import Confusion as Confusion, union as union
from .overfit_report import overfit_statistics as overfit_statistics
from .overfitting import overfit as overfit
from .prompt_diffusion import PromptDiffusion as PromptDiffusion
from .registry import build_generator as build_generator
from .settings import (
    NAMED_SETTINGS as NAMED_SETTINGS,
    NamedSettings as NamedSettings,
    find_settings as find_settings,
)
from .spectrum import measure as measure
from .types import PromptPairs as PromptPairs, TaskLoss as TaskLoss
