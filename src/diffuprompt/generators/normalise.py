"""Residual normalisation: what the diffusion model sees has unit size.

Learned prompts have a standard deviation near 0.02, below the smallest noise of a T = 100 schedule;
un-normalised, a diffusion model over them is only a regression (reference 1.4).

Legend: N image, F flat.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffuprompt.errors import TrainingError
from diffuprompt.prompts import PromptSpec


def residual_scale(spec: PromptSpec, initial_NF: Tensor, target_NF: Tensor) -> Tensor:
    """Return ``s`` ``(F,)``: the RMS of ``target - initial`` over images, one number a tower.

    Raises:
        TrainingError: the targets equal the initial prompts, so there is nothing to model.
    """
    residual, scale = target_NF - initial_NF, torch.ones(spec.size, device=target_NF.device)
    start = 0
    towers: dict[str, list[slice]] = {}
    for slot in spec.slots:
        towers.setdefault(slot.tower, []).append(slice(start, start + slot.size))
        start += slot.size
    for tower, places in towers.items():
        rms = torch.cat([residual[:, at].flatten() for at in places]).square().mean().sqrt()
        if not rms > 0:
            raise TrainingError(
                f"overfitting did not move the {tower} prompts; raise overfit.steps or overfit.lr"
            )
        for at in places:
            scale[at] = rms
    return scale
