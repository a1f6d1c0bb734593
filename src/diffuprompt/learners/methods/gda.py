"""GDA (Wang et al. 2024, ICLR, arXiv 2402.04087): classes as Gaussians, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods.class_rows import ClassRowsOptions
from diffuprompt.learners.options import LEARNED, refuse
from diffuprompt.ranges import COUNT, WEIGHT, Range

NAME = "gda"


@dataclass(frozen=True, kw_only=True)
class GdaOptions(ClassRowsOptions):
    """Options of `diffuprompt.learners.gda_learner.Gda`.

    Attributes:
        alpha: weight of the classifier beside the zero-shot logits; null has it chosen from 1e-4
            to 1e2 on pictures that are left out in turn (it needs two of a class, and
            three where each has one view).
        covariance: "pooled" over all images around their class's mean, or the mean over classes of
            each one's own ("per-class"). The latter is what the authors' base-to-new script
            inverts, theirs as it is (pinv), ours with the factor and the ridge of the paper.
        views: random views of the images; each counts as an image.
        neighbours: images of trained classes that stand for a new class, those nearest to its text.
        copies: of its text feature that count as images beside them.
        size: N, images times views; training finds it.
    """

    alpha: Annotated[float | None, WEIGHT] = None
    covariance: Literal["pooled", "per-class"] = "pooled"
    views: Annotated[int, Range(1, 10_000)] = 1
    neighbours: Annotated[int, COUNT] = 64
    copies: Annotated[int, COUNT] = 16
    size: Annotated[int, Range(0, 10**9)] = field(default=0, metadata=LEARNED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.neighbours and not self.copies:
            refuse(["learner.copies: expected at least 1 where learner.neighbours is 0, got 0"])


_SOURCE = "github.com/mrflogs/ICLR24; alpha is chosen on training pictures, theirs on validation's"
_BASE_NEW = (
    "arXiv 2402.04087 and github.com/mrflogs/ICLR24, not its base-to-new script as it is: base "
    "precision with factor and ridge, and one precision for new classes too; see the learner"
)
_VIEWS = {"views": 10}  # the authors' augment_epoch
_CLOSED = TrainConfig(epochs=0, batch=256, lr=1.0, augment="large-crop")

METHOD = Method(
    name=NAME,
    title="GDA",
    learner="diffuprompt.learners.gda_learner:Gda",
    about="No training: class means and one covariance give a classifier in closed form.",
    options=GdaOptions(),
    templates_in="templates",
    presets=(
        Preset(learner=NAME, name="few-shot", train=_CLOSED, options=_VIEWS, source=_SOURCE),
        Preset(
            learner=NAME,
            name="base-to-new",
            train=_CLOSED,
            options={"covariance": "per-class", **_VIEWS},
            source=_BASE_NEW,
            published={"base": 83.96, "new": 74.53, "H": 78.97},
        ),
        Preset(
            learner=NAME,
            name="lite",
            train=_CLOSED,
            source="for small towers, one view; python -m tools.choose_recipes",
        ),
    ),
)
