"""What overfitting did, in numbers for the record.

Legend: C class, F flat, I steps, N all images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.generators.descent import Problem
from diffuprompt.generators.overfitting import Overfitted

SAMPLE, BATCH = 128, 32


def overfit_statistics(problem: Problem, result: Overfitted) -> dict[str, float]:
    """Return medians over images, each under a name that starts with "overfit_".

    ``ce_before`` and ``ce_after`` are over all classes, so that runs with and without class lists
    compare: without lists of every image, with lists of at most 128 evenly spaced ones, since all
    classes for all images would cost more than the overfitting. ``ce_step_k``, after k steps, is
    over the class lists and all images; it comes free with the steps. ``classes`` is the length of
    a list.
    """
    initial, count = problem.initial, len(problem.labels)
    change = (result.prompts - initial).norm(dim=1) / initial.norm(dim=1).clamp_min(1e-12)
    steps = result.ce.median(dim=0).values.tolist()
    out = {
        "overfit_ce_before": steps[0],
        "overfit_ce_after": steps[-1],
        "overfit_relative_change": float(change.median()),
        "overfit_lr": result.lr,
        **{f"overfit_ce_step_{k}": value for k, value in enumerate(steps)},
    }
    if problem.lists is not None:
        index = torch.linspace(0, count - 1, min(SAMPLE, count)).round().long()
        index = index.to(initial.device)
        out["overfit_ce_before"] = float(_all_classes(problem, initial, index).median())
        out["overfit_ce_after"] = float(_all_classes(problem, result.prompts, index).median())
        out["overfit_classes"] = float(problem.lists.shape[1])
    return out


@torch.no_grad()
def _all_classes(problem: Problem, prompts_NF: Tensor, index: Tensor) -> Tensor:
    rows = [
        functional.cross_entropy(
            problem.logits(prompts_NF[part], part), problem.labels[part], reduction="none"
        )
        for part in index.split(BATCH)
    ]
    return torch.cat(rows)
