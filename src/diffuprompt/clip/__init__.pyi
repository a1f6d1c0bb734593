from .config import (
    Activation as Activation,
)
from .config import (
    ClipConfig as ClipConfig,
)
from .config import (
    TextConfig as TextConfig,
)
from .config import (
    TowerConfig as TowerConfig,
)
from .config import (
    VisionConfig as VisionConfig,
)
from .identity import (
    clip_identity as clip_identity,
)
from .layers import (
    ACTIVATIONS as ACTIVATIONS,
)
from .model import (
    Clip as Clip,
)
from .model import (
    normalize as normalize,
)
from .stem import (
    build_stem as build_stem,
)
from .templates import (
    ENSEMBLES as ENSEMBLES,
)
from .templates import (
    SINGLE as SINGLE,
)
from .text import (
    TextPlan as TextPlan,
)
from .text import (
    TextTower as TextTower,
)
from .tokens import (
    Encoder as Encoder,
)
from .tokens import (
    Position as Position,
)
from .tokens import (
    PromptedTokens as PromptedTokens,
)
from .tokens import (
    class_tokens as class_tokens,
)
from .tokens import (
    sentence_tokens as sentence_tokens,
)
