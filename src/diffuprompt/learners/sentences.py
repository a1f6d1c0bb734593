"""Text features of plain sentences: one template, or the average over several.

Legend: C class, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffuprompt.clip import Clip, TextPlan, TowerChange, normalize
from diffuprompt.learners.classes import Classes


def sentence_features(
    clip: Clip,
    classes: Classes,
    templates: Sequence[str],
    plan: TextPlan,
    change: TowerChange | None = None,
) -> Tensor:
    """Return ``(1, C, E)``, not normalised.

    Of several templates, features are normalised and averaged (Radford et al. 2021, section 3.1.4).
    ``change`` says what differs in the tower.
    """
    sentences = [classes.sentences(clip, template) for template in templates]
    each = [clip.text(tokens, None, plan, change) for tokens in sentences]
    return each[0] if len(each) == 1 else torch.stack([normalize(f) for f in each]).mean(0)
