"""What the stages of one job work with: the backbone, the training images, and how to compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffuprompt.clip import Clip, TextPlan
from diffuprompt.engine import Progress, torch_stream
from diffuprompt.learners import Learner, build_learner, changed, find_method
from diffuprompt.stages.image_set import ImageSet


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """Loaded things; what is computed with them is said by the stage's own configuration.

    Attributes:
        clip: the frozen backbone, at the job's precision.
        train: the training images.
        plan: how text features are computed.
        progress: shows what is going on.
        save_every_s: seconds of work that a kill may cost.
    """

    clip: Clip
    train: ImageSet
    plan: TextPlan
    progress: Progress
    save_every_s: float = 30.0

    def build_learner(self, name: str, options: dict[str, Any], seed: int) -> Learner:
        """Return an untrained learner, initialised from ``seed``."""
        asked = changed(find_method(name).options, options, learner=name)
        ours = asked.for_classes(self.train.classes.names)
        stream = torch_stream(seed, "init")
        return build_learner(name, self.clip, ours, plan=self.plan, generator=stream)
