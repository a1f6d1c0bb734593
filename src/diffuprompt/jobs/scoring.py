"""Score one run's ways of making prompts, each a stage named by what it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

from diffuprompt.generators import KINDS, PromptGenerator, PromptPairs, stated
from diffuprompt.hub import Artifact
from diffuprompt.jobs.evaluation import OF_TARGETS, ORACLE, SEEDED
from diffuprompt.jobs.prepared import Prepared, image_set, store_beside
from diffuprompt.jobs.run_folder import Run
from diffuprompt.jobs.sources import published_name
from diffuprompt.jobs.templates import templates_of
from diffuprompt.jobs.test_sets import TestSet
from diffuprompt.learners import UNTRAINED, Learner, build_learner, find_method
from diffuprompt.record import OPEN, ZERO_SHOT_NEW, Score, Variant, unpack_hits
from diffuprompt.runs import Stage, Store, checksum, digest
from diffuprompt.stages import (
    Bench,
    ImageSet,
    Maker,
    Result,
    Scored,
    Targets,
    ZeroShotForNew,
    control_prompts,
    generated_prompts,
    oracle_prompts,
    overfit_stage,
    ready_sampler,
    sampler_stage,
    score_stage,
    scored,
    targets,
)


@dataclass(eq=False, kw_only=True)
class Scoring:
    """The scores of one run; ``seconds`` is what those that were asked for took.

    Attributes:
        bench: backbone and training images.
        prepared: the run's own job.
        run: as it was stored.
        store: where stages are kept.
        artifact: learner and generator as they were saved.
        again: score anew what has been scored.
    """

    bench: Bench
    prepared: Prepared
    run: Run
    store: Store
    artifact: Artifact
    again: bool = False
    seconds: float = 0.0
    _images: dict[str, ImageSet] = field(default_factory=dict)

    def score(self, test: TestSet, variant: Variant) -> Score:
        """Return the score of one way of making prompts on one test set."""
        images = self._open(test)
        stage = self.stage(test, variant)
        if self.again:
            self.store.forget(stage)
        result = scored(
            self.bench,
            self.store,
            stage,
            self._scored(test, variant),
            images,
            lambda: self._makers(variant, images),
            f"scoring {variant.label} ({test.title})",
        )
        self.seconds += result.seconds
        return Score(
            variant=variant,
            dataset=test.dataset,
            subset=test.subset,
            total=result.total,
            metrics=result.metrics | self._by_half(test, result),
            hits=result.hits,
            timings=result.timings,
            content=test.content,
            templates=tuple(self._other_templates(test, variant)),
        )

    def stage(self, test: TestSet, variant: Variant) -> Stage:
        """Return the stage of a score: what it depends on, and nothing else."""
        resolved = self.run.resolved
        inputs = {
            "test": test.content,
            "backbone": self.bench.clip.identity,
            "learner": self.learner_key,
        }
        config: dict[str, object] = {"precision": resolved.precision}
        if variant.control in OF_TARGETS:
            inputs["targets"] = self._targets_stage.key
        elif variant.generator:
            sampled = self._sampler(variant.nfe).key
            inputs |= {"generator": self.generator_key, "sampler": sampled}
        if variant.control in SEEDED:
            config["seed"] = resolved.seed
        if variant.control == ORACLE:
            config["overfit"] = stated(resolved.overfit)
        if variant.control == ZERO_SHOT_NEW:
            config["num_base"] = self._num_base
        if templates := self._other_templates(test, variant):
            config["templates"] = templates
        assert variant.judged is None, "no names are judged any more"
        # the generator is named by its key above
        how = variant.model_dump(mode="json", exclude={"generator", "judged"})
        return score_stage(variant=how, config=config, inputs=inputs)

    @property
    def learner(self) -> Learner:
        """The learner as it was saved."""
        return self.artifact.learner

    @property
    def generator(self) -> PromptGenerator:
        """The generator as it was saved."""
        assert self.artifact.generator is not None
        return self.artifact.generator

    @cached_property
    def learner_key(self) -> str:
        """The key of the stage that the learner comes from; of a run of 0.1, its content's."""
        keys = self.run.keys
        if self.run.is_old:
            described = self.artifact.description
            what = [described.learner, described.learner_config]
            return digest([*what, checksum(self.learner.state_dict())])
        return keys.get("joint", keys["learner"])

    @cached_property
    def generator_key(self) -> str:
        """The key of the stage that trained the generator; of a run of 0.1, its content's."""
        keys = self.run.keys
        if self.run.is_old:
            part = self.artifact.description.generator
            assert part is not None
            return digest([part.model_dump(mode="json"), checksum(self.generator.state_dict())])
        return keys["joint"] if "joint" in keys else keys["generator"]

    def _scored(self, test: TestSet, variant: Variant) -> Scored:
        """Return what answers: the learner, but for a control that is no way of making prompts."""
        if variant.control == ZERO_SHOT_NEW:
            return ZeroShotForNew(self.learner, self._frozen(test), self._num_base)
        return self._frozen(test) if self._is_frozen_elsewhere(test) else self.learner

    def _other_templates(self, test: TestSet, variant: Variant) -> list[str]:
        """Return the sentences of what answers in the learner's place; none where it answers."""
        if variant.control == ZERO_SHOT_NEW or self._is_frozen_elsewhere(test):
            return self._templates(test)
        return []

    def _frozen(self, test: TestSet) -> Learner:
        """Return the backbone without training, with the templates of the images' data set."""
        options = {"templates": self._templates(test)}
        return build_learner(UNTRAINED, self.bench.clip, options, plan=self.bench.plan)

    def _is_frozen_elsewhere(self, test: TestSet) -> bool:
        """Whether nothing is trained, and another data set's own templates count than the run's.

        A run that holds other templates than its own data set's keeps them everywhere. So do other
        pictures of its classes that are not published with templates, such as shifted copies.
        """
        resolved, method = self.run.resolved, find_method(UNTRAINED)
        if resolved.learner != UNTRAINED or test.dataset == resolved.dataset:
            return False
        held, source = resolved.options.get("templates"), published_name(self.run.job.data)
        same_names = set(test.selection.classes) <= set(self.prepared.manifest.classes)
        if held != templates_of(method, source) or (same_names and not test.catalog):
            return False
        return self._templates(test) != held

    def _templates(self, test: TestSet) -> list[str]:
        return templates_of(find_method(UNTRAINED), test.catalog)

    @property
    def _num_base(self) -> int:
        return len(self.prepared.roles.tests["base"].classes)

    def _by_half(self, test: TestSet, result: Result) -> dict[str, float]:
        """Return the accuracy of images of base and of new classes, in the open world."""
        if test.subset != OPEN:
            return {}
        hits = unpack_hits(result.hits, result.total)
        base = len(self.prepared.roles.tests["base"].items)
        halves = {"base": hits[:base], "new": hits[base:]}
        return {f"accuracy_{name}": 100 * sum(of) / len(of) for name, of in halves.items()}

    def _sampler(self, nfe: int | None) -> Stage:
        resolved = self.run.resolved
        settings = asdict(resolved.generator_config)
        own = {key: settings[key] for key in KINDS[resolved.generator].sampling}
        return sampler_stage(settings=own, nfe=nfe, generator=self.generator_key)

    @cached_property
    def _targets_stage(self) -> Stage:
        resolved = self.run.resolved
        return overfit_stage(
            overfit=stated(resolved.overfit),
            precision=resolved.precision,
            learner=self.learner_key,
        )

    @cached_property
    def _targets(self) -> Targets:
        """V* of the training images under the scored learner; found here if nobody has yet."""
        return targets(self.bench, self.store, self._targets_stage, self.learner)

    def _pairs(self) -> PromptPairs:
        return self._targets.pairs

    def _makers(self, variant: Variant, images: ImageSet) -> Sequence[Maker]:
        """Return what makes the prompts of a variant; none for the learner's own."""
        if not variant.generator:
            return ()
        if variant.control == ORACLE:
            config = self.run.resolved.overfit
            return (oracle_prompts(self.learner, images, config, self._targets.lr),)
        if variant.prompts == "control" and variant.control != ZERO_SHOT_NEW:
            seed = self.run.resolved.seed
            found = control_prompts(variant.control, self.generator, images, self._pairs, seed)
            return (found,)
        if variant.nfe is not None:
            self._fit_sampler(variant.nfe)
            return (generated_prompts(self.generator, nfe=variant.nfe),)
        return [generated_prompts(self.generator, draw=k) for k in range(variant.draws)]

    def _fit_sampler(self, nfe: int) -> None:
        """Make the generator ready for another number of evaluations."""
        if self.generator.solver(nfe) is not None:
            ready_sampler(
                self.bench,
                self.store,
                self._sampler(nfe),
                self.generator,
                self.bench.train.features,
                self._pairs,
            )

    def _open(self, test: TestSet) -> ImageSet:
        """Return the images of a test set, with the memory that training images do not take."""
        if test.content not in self._images:
            store = store_beside(self.bench.train.store, test.root, self.bench.progress)
            self._images[test.content] = image_set(test.selection, store, {})
        return self._images[test.content]
