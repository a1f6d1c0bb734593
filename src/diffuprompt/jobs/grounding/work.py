"""The stages of one grounding job, each made when it is first asked for, or found.

expressions -> Mask-VAE -> mask generator -> maps -> method -> score
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from diffuprompt.errors import DataError
from diffuprompt.grounding import (
    IndependentMasks,
    MapsConfig,
    MaskGenerator,
    MaskVae,
    Method,
    make_method,
)
from diffuprompt.jobs.grounding.data import ExpressionSet, Piece, refuse_without_masks
from diffuprompt.jobs.grounding.opened import OpenedJob
from diffuprompt.jobs.grounding.recipes import MAP_BOX
from diffuprompt.runs import Stage
from diffuprompt.stages import (
    Found,
    grounding_score_stage,
    made_maps,
    maps_stage,
    mask_generator_stage,
    method_stage,
    scored_expressions,
    trained_generator,
    trained_independent,
    trained_method,
    trained_vae,
    vae_stage,
)

TRAIN = "training expressions"
VAE, GENERATOR, MAPS, METHOD = "mask-vae", "mask-generator", "maps", "method"  # in records


class GroundingWork(OpenedJob):
    """One job; what it needs is opened once, and what is finished is only loaded."""

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Those of training, as they are made or found."""
        return {}

    def check(self) -> None:
        """Open all that the job reads, so that nothing that is wrong is found after hours.

        Raises:
            DataError, ConfigError, CheckpointError: something is.
        """
        _ = self.train.expressions, self.tests, self.detector, self._new_method, self.maps_config
        for test in self.tests:
            if test.of_file:  # made worlds are there whenever they are asked for
                _ = test.expressions
        job, recipe = self.job, self.recipe
        if recipe.generates or recipe.decodes:
            refuse_without_masks(job.masks_from or job.data, self.for_masks.expressions)
        if recipe.maps == "truth":
            refuse_without_masks(job.data, self.train.expressions)

    @property
    def inputs(self) -> dict[str, str]:
        """What training depends on beside its settings, by content."""
        found = {TRAIN: self.train.content, "detector": self.bench.content}
        if self.job.masks_from:
            found["masks"] = self.for_masks.content
        return found

    def check_stages(self) -> None:
        """Raise `DataError` where a trained stage is gone, as scoring would train it anew."""
        stage = self.generator_stage if self._new_method is None else self.method_stage
        folder = self.store.folder(stage)
        if not folder.is_finished:
            raise DataError(
                f"{folder.path}: gone, and with it what the run learned; delete the run's artifact "
                "folder and give its 'diffuprompt ground train' command again"
            )

    @cached_property
    def vae_stage(self) -> Stage:
        """Of stage 1: it knows nothing of a world but that of its own training."""
        return vae_stage(
            config=asdict(self.settings.vae),
            fit=asdict(self.settings.vae_fit),
            seed=self.job.seed,
            side=self.side_of(self.for_masks),
            expressions=self.for_masks.content,
        )

    @cached_property
    def vae(self) -> MaskVae:
        """Stage 1."""
        expressions = self.for_masks.expressions
        found = trained_vae(self.bench_for(self.for_masks), self.vae_stage, expressions)
        self.stages[VAE] = self.vae_stage
        return found

    @cached_property
    def generator_stage(self) -> Stage:
        """Of stage 2; likewise."""
        settings, independent = self.settings, self.recipe.maps == "independent"
        return mask_generator_stage(
            config=(
                asdict(settings.generator.encoder) if independent else settings.generator.training()
            ),
            fit=settings.generator_fit.to_json(),
            seed=self.job.seed,
            side=self.side_of(self.for_masks),
            expressions=self.for_masks.content,
            detector="" if self.is_pooled else self.bench.content,
            clip=self.clip.identity if self.clip is not None else "",
            vae="" if independent else self.vae_stage.key,
            independent=independent,
        )

    @cached_property
    def generator(self) -> MaskGenerator | IndependentMasks:
        """Stage 2, or what stands in its place."""
        bench, expressions = self.bench_for(self.for_masks), self.for_masks.expressions
        found: MaskGenerator | IndependentMasks
        if self.recipe.maps == "independent":
            found = trained_independent(bench, self.generator_stage, expressions)
        else:
            sampling = self.settings.generator.sampling()
            found = trained_generator(bench, self.generator_stage, expressions, self.vae, sampling)
        self.stages[GENERATOR] = self.generator_stage
        return found

    @property
    def maps_config(self) -> MapsConfig | None:
        """How maps are made; None for methods that read none."""
        source = self.recipe.maps
        if not source:
            return None
        sampling = self.settings.sampling
        return MapsConfig(
            source="map" if source == "independent" else source,
            latents=self._new_method is not None and self._new_method.reads == "latents",
            samples=sampling.samples if source == "mean" else 1,
            kept=self.settings.generator.kept,
        )

    def maps_stage(self, of: ExpressionSet | Piece) -> Stage | None:
        """Return the stage of a set's maps; None for methods that read none."""
        if self.maps_config is None:
            return None
        return maps_stage(
            config=self.maps_config,
            sampling=self.settings.generator.sampling() if self.recipe.samples else {},
            seed=self.job.seed,
            side=self.side_of(of),
            expressions=of.content,
            generator=self.generator_stage.key if self.recipe.generates else "",
            vae=self.vae_stage.key if self.recipe.decodes else "",
        )

    def maps(self, of: ExpressionSet | Piece) -> Tensor | None:
        """Return the maps of a set; None for methods that read none."""
        stage = self.maps_stage(of)
        if stage is None:
            return None
        generator = self.generator if self.recipe.generates else None
        vae = self.vae if self.recipe.decodes else None
        return made_maps(self.bench_for(of), stage, of.expressions, vae, generator)

    @cached_property
    def _new_method(self) -> Method | None:
        if self.job.method == MAP_BOX:
            return None
        return make_method(self.recipe.method, self.detector, self.settings.method, self.job.seed)

    @cached_property
    def method_stage(self) -> Stage:
        """Of stage 3."""
        maps = self.maps_stage(self.for_method)
        return method_stage(
            name=self.recipe.method,
            settings=self.settings.method,
            fit=asdict(self.settings.fit),
            seed=self.job.seed,
            side=self.side,
            expressions=self.for_method.content,
            detector=self.bench.content,
            maps=maps.key if maps else "",
        )

    @cached_property
    def method(self) -> Method | None:
        """Stage 3; None where boxes are read from maps alone."""
        if self._new_method is None:
            _ = self.generator
            return None
        of = self.for_method
        if (stage := self.maps_stage(of)) is not None:
            maps = self.maps(of)
            self.stages[MAPS] = stage
        else:
            maps = None
        found = trained_method(self.bench, self.method_stage, of.expressions, maps)
        self.stages[METHOD] = self.method_stage
        return found

    def score(self, test: ExpressionSet) -> tuple[Found, float]:
        """Return what was found on a test set, and milliseconds per expression for the maps."""
        method, maps, made = self.method, self.maps(test), self.maps_stage(test)
        stage = grounding_score_stage(
            side=self.side_of(test),
            expressions=test.content,
            detector="" if method is None else self.bench.content,
            method="" if method is None else self.method_stage.key,
            maps=made.key if made else "",
        )
        found = scored_expressions(
            self.bench_for(test),
            stage,
            test.expressions,
            method,
            maps,
            label=f"{self.job.method} on {test.name}",
            vae=self.vae if self.recipe.decodes else None,
        )
        return found, self.store.folder(made).values()["ms"] if made else 0.0

    def values(self) -> Mapping[str, Mapping[str, float]]:
        """Return what each stage of training measured."""
        return {name: self.store.folder(stage).values() for name, stage in self.stages.items()}

    def parameters(self) -> dict[str, int]:
        """Return how many are "trainable" in stage 3, in the "generator", and in "total"."""
        generators: list[nn.Module] = [self.generator] if self.recipe.generates else []
        generators += [self.vae] if self.recipe.decodes else []
        method = 0 if self.method is None else _size(self._new_method)
        generator = sum(map(_size, generators))
        detector = 0 if self.method is None else _size(self.detector.module)
        clip = 0 if self.clip is None else _size(self.clip)
        return {
            "trainable": method,
            "generator": generator,
            "total": method + generator + detector + clip,
        }


def _size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())
