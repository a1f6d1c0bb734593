"""What the stages of one grounding job work with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffuprompt.clip import Clip
from diffuprompt.engine import Progress
from diffuprompt.grounding import Detector
from diffuprompt.runs import Store


@dataclass(frozen=True, eq=False, kw_only=True)
class GroundingBench:
    """Loaded things; what is computed with them is said by the stage's own configuration.

    Attributes:
        detector: frozen.
        content: hash of the detector's weights and configuration.
        clip: of pooled features; None where nothing reads them.
        side: pictures are resized to ``side x side``.
        store: where stages are kept.
        progress: shows what is going on.
        save_every_s: seconds of work that a kill may cost.
    """

    detector: Detector
    content: str
    clip: Clip | None
    side: int
    store: Store
    progress: Progress
    save_every_s: float = 30.0

    @property
    def device(self) -> torch.device:
        """Where the detector is, and what is trained with it."""
        return next(self.detector.module.parameters()).device
