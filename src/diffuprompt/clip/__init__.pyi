from .changes import (
    BlockChange as BlockChange,
    Dropout as Dropout,
    LowRank as LowRank,
    Norm as Norm,
    TowerChange as TowerChange,
)
from .config import (
    Activation as Activation,
    ClipConfig as ClipConfig,
    TextConfig as TextConfig,
    TowerConfig as TowerConfig,
    VisionConfig as VisionConfig,
)
from .identity import clip_identity as clip_identity
from .layers import ACTIVATIONS as ACTIVATIONS
from .model import Clip as Clip, normalize as normalize
from .stem import EfficientNetLite0 as EfficientNetLite0, build_stem as build_stem
from .templates import ENSEMBLES as ENSEMBLES, SINGLE as SINGLE
from .text import TextPlan as TextPlan, TextTower as TextTower
from .tokens import (
    Encoder as Encoder,
    Position as Position,
    PromptedTokens as PromptedTokens,
    class_tokens as class_tokens,
    sentence_tokens as sentence_tokens,
)
from .vision import VisionTower as VisionTower
