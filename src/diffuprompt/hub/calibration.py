"""What makes an artifact's answers honest: a temperature, and a threshold for "none of these".

Legend: M draw, N image, C class.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from torch import Tensor

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Scores = Literal["energy", "logit", "probability"]
DEFAULT: Scores = "energy"


class Calibration(BaseModel):
    """Of the names that an artifact was trained on; other names have none.

    Attributes:
        temperature: logits are divided by it before the softmax (Guo et al. 2017, section 4.2).
        score: how well known a picture looks, see `known`.
        threshold: a picture whose score is below shows none of the names.
        pictures: held-out pictures of the names that it was fitted on.
        others: pictures of something else that it was fitted on; 0: of the known alone.
        held_out: where the held-out pictures are from: "val", or "folds" of the training pictures.
        measured: name -> value in per cent, on pictures that were held out; see `jobs.calibrate`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Positive
    score: Scores
    threshold: Finite
    pictures: Annotated[StrictInt, Field(ge=1)]
    others: Annotated[StrictInt, Field(ge=0)] = 0
    held_out: Literal["val", "folds"]
    measured: dict[StrictStr, Finite] = Field(default_factory=dict)

    def is_none_of_these(self, logits_MNC: Tensor) -> Tensor:
        """Return ``(N,)``: whether the mean score over M draws is below the threshold."""
        return known(logits_MNC, self.score, self.temperature).mean(0) < self.threshold


def known(logits: Tensor, score: Scores, temperature: float = 1.0) -> Tensor:
    """Return how well known pictures look, ``(..., C)`` to ``(...)``; higher is better known.

    "energy" is T log sum exp(logits / T) (Liu et al. 2020, eq. 4, its sign turned), "logit" the
    largest logit (Hendrycks et al. 2022), "probability" the largest softmax probability at T
    (Hendrycks and Gimpel 2017).
    """
    if score == "logit":
        return logits.amax(-1)
    if score == "energy":
        return temperature * (logits / temperature).logsumexp(-1)
    return (logits / temperature).softmax(-1).amax(-1)
