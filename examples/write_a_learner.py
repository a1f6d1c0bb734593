"""Write a learner in a script of your own, and train it like any other.

    python examples/write_a_learner.py [--out DIR]

The learner is CoOp with a confidence penalty (Pereyra et al. 2017, arXiv 1701.06548): its loss
rewards probabilities that stay unsure. docs/add-a-learner.md explains every part of a learner.
Everything is written into DIR, by default a temporary folder that is deleted at the end.
"""

from dataclasses import dataclass
from pathlib import Path

from setting import draw_pictures, run_in_folder
from torch import Tensor

from diffuprompt.data import Needs
from diffuprompt.jobs import JobConfig, evaluate_run, train_job
from diffuprompt.learners import (
    Method,
    Preset,
    PromptLearner,
    PromptOptions,
    Step,
    Term,
    TrainConfig,
    register,
)
from diffuprompt.record import read_record


@dataclass(frozen=True, kw_only=True)
class UnsureOptions(PromptOptions):
    """Options of `Unsure`: CoOp's tokens, in the text tower only, and the weight of its penalty."""

    vision_ctx: int | None = 0
    penalty: float = 0.1


@dataclass(frozen=True)
class ConfidencePenalty:
    """``-weight * entropy`` of the probabilities of an image, mean over the batch."""

    weight: float
    needs = Needs(features=False)  # it reads logits alone

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """Return the term under the name that the training log gives it."""
        log_p_BC = step.logits.log_softmax(1)
        return {"penalty": self.weight * (log_p_BC.exp() * log_p_BC).sum(1).mean()}


class Unsure(PromptLearner):
    """A context for all classes, with `ConfidencePenalty` beside the cross-entropy."""

    options: UnsureOptions

    def build_terms(self) -> tuple[Term, ...]:
        """Return the terms that the options of every learner ask for, and the penalty."""
        return (*super().build_terms(), ConfidencePenalty(self.options.penalty))


RECIPE = TrainConfig(epochs=20, batch=8, lr=2e-2, views=2)
METHOD = Method(
    name="unsure",
    title="CoOp, unsure",
    about="A learned context that is rewarded for staying unsure.",
    options=UnsureOptions(),
    presets=(Preset(learner="unsure", name="lite", train=RECIPE),),
    learner=Unsure,
)


def main(out: Path) -> None:
    """Train with and without the penalty, and compare."""
    register(METHOD)  # from here on the name works wherever a learner's name does
    data = str(draw_pictures(out / "pictures"))
    for penalty in (0.0, 1.0):
        asked = (f"learner.penalty={penalty}",)
        job = JobConfig(
            data=data,
            backbone="scenes-clip",  # it knows drawn scenes; for photographs leave this out
            learner="unsure",
            overrides=asked,
            runs_dir=out,
        )
        run = train_job(job)
        (score,) = read_record(evaluate_run(run)).scores
        found = score.metrics
        print(f"penalty {penalty}: accuracy {found['accuracy']:.1f} %, nll {found['nll']:.3f}")


if __name__ == "__main__":
    run_in_folder(main, __doc__)
