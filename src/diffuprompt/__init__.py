"""Few-shot prompts for frozen CLIP-like models, made specific to each image by diffusion.

The names below are loaded when they are first used (PEP 562), so that importing the package, its
help and its reports need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffuprompt.checkpoints import load_clip
    from diffuprompt.hub import Classifier
    from diffuprompt.prompts import Prompts, PromptSpec, Slot

__version__ = "0.1.0"
__all__ = ["Classifier", "PromptSpec", "Prompts", "Slot", "__version__", "load_clip"]

_HOMES = {
    "Classifier": "diffuprompt.hub.classifier",
    "PromptSpec": "diffuprompt.prompts",
    "Prompts": "diffuprompt.prompts",
    "Slot": "diffuprompt.prompts",
    "load_clip": "diffuprompt.checkpoints.load",
}


def __getattr__(name: str) -> Any:
    """Load an exported name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'diffuprompt' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def __dir__() -> list[str]:
    """List the exported names before they are loaded."""
    return sorted({*globals(), *__all__})
