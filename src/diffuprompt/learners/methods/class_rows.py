"""What can be set of learners that give every trained class a row of numbers of its own; no torch.

No method by itself: the options of those in `linear_probe`, `lp_plus_plus` and `gda`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from diffuprompt.learners.methods.zero_shot import ZeroShotOptions
from diffuprompt.learners.options import LEARNED
from diffuprompt.ranges import COUNT, Range


@dataclass(frozen=True, kw_only=True)
class ClassRowsOptions(ZeroShotOptions):
    """Options of `diffuprompt.learners.class_rows.ClassRows`.

    Attributes:
        trained_classes: names of the K classes that have rows; training finds them.
    """

    trained_classes: Annotated[list[str], Range(0, COUNT.high)] = field(
        default_factory=list, metadata=LEARNED
    )
