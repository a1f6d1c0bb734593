"""The stages that a job is made of, known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from diffuprompt.generators import KINDS, stated
from diffuprompt.jobs.job import Resolved
from diffuprompt.runs import Stage
from diffuprompt.stages import generator_stage, learner_stage, overfit_stage, sampler_stage


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The stages of one job, in the order in which they are made.

    Attributes:
        learner: trained by its own recipe.
        overfit: V* of the training images under that learner; None without a generator.
        generator: trained on V*, or together with the learner; None without one.
        sampler: the configured way of sampling; None without a generator.
        targets: V* under the learner that is scored, on which controls rest: `overfit`, or after
            joint training V* found anew.
    """

    learner: Stage
    overfit: Stage | None = None
    generator: Stage | None = None
    sampler: Stage | None = None
    targets: Stage | None = None

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages that training makes, by their names in a run's manifest."""
        every = (self.learner, self.overfit, self.generator, self.sampler)
        return {stage.name: stage for stage in every if stage is not None}

    @property
    def keys(self) -> dict[str, str]:
        """The keys of `stages`."""
        return {name: stage.key for name, stage in self.stages.items()}

    @property
    def scored_learner(self) -> Stage:
        """The stage that the scored learner comes from: joint training moves it."""
        joint = self.generator is not None and "overfit" in self.generator.config
        return self.generator if joint and self.generator is not None else self.learner


def chain_of(resolved: Resolved, inputs: Mapping[str, str]) -> Chain:
    """Return the stages of a job.

    Args:
        resolved: every value that its results depend on.
        inputs: "images", "backbone", and "sentences" where the learner reads some.
    """
    learner = learner_stage(
        name=resolved.learner,
        options=resolved.options,
        train=resolved.train.stated(),
        precision=resolved.precision,
        seed=resolved.seed,
        inputs=inputs,
    )
    if resolved.generator not in KINDS:
        return Chain(learner=learner)
    kind, settings = KINDS[resolved.generator], stated(resolved.generator_config)
    joint = resolved.fit.mode == "joint"
    overfit = stated(resolved.overfit)
    before = overfit_stage(overfit=overfit, precision=resolved.precision, learner=learner.key)
    generator = generator_stage(
        name=resolved.generator,
        settings={k: settings[k] for k in kind.reads if k in settings and k not in kind.sampling},
        fit=stated(resolved.fit),
        overfit=overfit if joint else None,
        precision=resolved.precision,
        seed=resolved.seed,
        dataset=resolved.dataset,
        learner=learner.key,
        targets=before.key,
    )
    after = before
    if joint:
        after = overfit_stage(overfit=overfit, precision=resolved.precision, learner=generator.key)
    return Chain(
        learner=learner,
        overfit=before,
        generator=generator,
        sampler=sampler_of(resolved, generator),
        targets=after,
    )


def sampler_of(resolved: Resolved, generator: Stage, nfe: int | None = None) -> Stage:
    """Return the stage of sampling as configured, or with another number of evaluations."""
    settings = asdict(resolved.generator_config)
    own = {k: settings[k] for k in KINDS[resolved.generator].sampling}
    return sampler_stage(settings=own, nfe=nfe, generator=generator.key)
