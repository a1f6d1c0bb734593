"""What the stages of one grounding job work with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import nn

from diffuprompt.engine import Progress
from diffuprompt.grounding import Detector
from diffuprompt.runs import Store


@dataclass(frozen=True, eq=False, kw_only=True)
class GroundingBench:
    """Loaded things; what is computed with them is said by the stage's own configuration.

    Attributes:
        detector: frozen.
        content: hash of the detector's weights and configuration.
        side: pictures are resized to ``side x side``.
        store: where stages are kept.
        progress: shows what is going on.
        save_every_s: seconds of work that a kill may cost.
    """

    detector: Detector
    content: str
    side: int
    store: Store
    progress: Progress
    save_every_s: float = 30.0


def content_of(module: nn.Module, *more: str) -> str:
    """Return thirty-two hex digits over all tensors of a module, and over ``more``."""
    found = hashlib.sha256("\0".join(more).encode())
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]
