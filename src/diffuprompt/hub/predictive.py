"""What several draws of prompts say about pictures: the mean answer, and how far draws disagree.

Legend: M draw, N image, C class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictive:
    """The predictive distribution of N pictures over M draws.

    Attributes:
        probabilities: ``(N, C)``, the mean over draws.
        disagreement: ``(N,)`` in [0, 1], the share of draws whose first name is not the mean's.
        std: ``(N,)`` in [0, 0.5], the standard deviation (ddof 0) over draws of the probability of
            the mean's first name.
        mutual_information: ``(N,)`` in nats, in [0, log min(M, C)]: what knowing the draw would
            tell about the answer, H(mean) - mean of H (BALD; Houlsby et al. 2011, eq. 2). Unlike
            the entropy of the mean it is 0 where all draws are unsure in the same way.
    """

    probabilities: Tensor
    disagreement: Tensor
    std: Tensor
    mutual_information: Tensor


def predictive(probabilities_MNC: Tensor) -> Predictive:
    """Summarise the probabilities of M draws; on the CPU, in float32."""
    draws = probabilities_MNC.cpu().double()  # accelerators may have no float64
    mean_NC = draws.mean(0)
    first_N = mean_NC.argmax(1)
    of_first_MN = draws[:, torch.arange(len(first_N)), first_N]
    gap_N = torch.special.entr(mean_NC).sum(1) - torch.special.entr(draws).sum(2).mean(0)
    return Predictive(
        probabilities=mean_NC.float(),
        disagreement=(draws.argmax(2) != first_N).double().mean(0).float(),
        std=of_first_MN.std(0, correction=0).float(),
        mutual_information=gap_N.clamp_min(0).float(),  # equal draws round to either side of 0
    )


def joined(parts: Sequence[Predictive]) -> Predictive:
    """Put batches of pictures behind each other."""
    return Predictive(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Predictive)}
    )
