from .base import (
    PromptGenerator as PromptGenerator,
)
from .config import (
    KINDS as KINDS,
)
from .config import (
    DiffusionConfig as DiffusionConfig,
)
from .config import (
    FitConfig as FitConfig,
)
from .config import (
    OverfitConfig as OverfitConfig,
)
from .config import (
    RivalConfig as RivalConfig,
)
from .controls import (
    MeanResidual as MeanResidual,
)
from .controls import (
    Nearest as Nearest,
)
from .controls import (
    NoiseFeatures as NoiseFeatures,
)
from .controls import (
    shuffled_order as shuffled_order,
)
from .descent import (
    Logits as Logits,
)
from .descent import (
    Problem as Problem,
)
from .descent import (
    descend as descend,
)
from .fitting import (
    FitTask as FitTask,
)
from .fitting import (
    fit as fit,
)
from .fitting import (
    quality as quality,
)
from .joint import (
    Base as Base,
)
from .joint import (
    fit_joint as fit_joint,
)
from .label_space import (
    Confusion as Confusion,
)
from .label_space import (
    union as union,
)
from .overfit_report import (
    overfit_statistics as overfit_statistics,
)
from .overfitting import (
    overfit as overfit,
)
from .prompt_diffusion import (
    PromptDiffusion as PromptDiffusion,
)
from .registry import (
    build_generator as build_generator,
)
from .settings import (
    NAMED_SETTINGS as NAMED_SETTINGS,
)
from .settings import (
    find_settings as find_settings,
)
from .spectrum import (
    measure as measure,
)
from .types import (
    PromptPairs as PromptPairs,
)
from .types import (
    TaskLoss as TaskLoss,
)
