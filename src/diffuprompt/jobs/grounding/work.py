"""The stages of one grounding job, each made when it is first asked for, or found.

expressions -> Mask-VAE -> mask generator -> maps -> method -> score
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from diffuprompt.checkpoints import load_clip
from diffuprompt.clip import Clip
from diffuprompt.engine import Progress
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding import (
    BUNDLED_DETECTOR,
    Detector,
    Expressions,
    IndependentMasks,
    MapsConfig,
    MaskGenerator,
    MaskVae,
    Method,
    content_of,
    make_method,
    open_detector,
)
from diffuprompt.jobs.grounding.data import ExpressionSet, Piece, Source
from diffuprompt.jobs.grounding.job import AUTO, GroundingJobConfig
from diffuprompt.jobs.grounding.recipes import MAP_BOX, Recipe, find_recipe
from diffuprompt.jobs.grounding.settings import Settings
from diffuprompt.runs import Stage, Store
from diffuprompt.stages import (
    Found,
    GroundingBench,
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

DETECTORS = {"scenes": BUNDLED_DETECTOR, "crowds": BUNDLED_DETECTOR, "collages": "collages-glip"}
CLIPS = {"scenes": "scenes-clip", "crowds": "scenes-clip"}  # of pooled features
PHOTO_CLIP = "photo-clip-lite"
VAE, GENERATOR, MAPS, METHOD = "mask-vae", "mask-generator", "maps", "method"  # in records


class GroundingWork:
    """One job; what it needs is opened once, and what is finished is only loaded."""

    def __init__(
        self,
        job: GroundingJobConfig,
        settings: Settings,
        store: Store,
        progress: Progress,
        save_every_s: float,
    ) -> None:
        self.job, self.settings, self.store = job, settings, store
        self.progress, self.save_every_s = progress, save_every_s
        self.recipe: Recipe = find_recipe(job.method)
        self.stages: dict[str, Stage] = {}  # of training, as they are made or found

    @cached_property
    def detector(self) -> Detector:
        """The frozen detector."""
        return open_detector(self.detector_name)

    @property
    def detector_name(self) -> str:
        """What ``auto`` means for the data.

        Raises:
            ConfigError: there is no detector for these data.
        """
        if self.job.detector != AUTO:
            return self.job.detector
        if self.job.data not in DETECTORS:
            raise ConfigError(
                "detector: 'auto' knows the made worlds only; for your own pictures name one, "
                "for example openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg"
            )
        return DETECTORS[self.job.data]

    @cached_property
    def bench(self) -> GroundingBench:
        """What stages work with."""
        return GroundingBench(
            detector=self.detector,
            content=content_of(self.detector.module),
            clip=self._clip,
            side=self.side,
            store=self.store,
            progress=self.progress,
            save_every_s=self.save_every_s,
        )

    @cached_property
    def _clip(self) -> Clip | None:
        pooled = self.settings.generator.condition == "pooled"
        if not pooled or not self.recipe.generates:
            return None
        return load_clip(CLIPS.get(self.job.data, PHOTO_CLIP))

    @cached_property
    def source(self) -> Source:
        """Where the job's expressions come from."""
        return self._source(self.job.data)

    def _source(self, data: str) -> Source:
        return Source(
            data=data,
            root=self.job.data_root,
            store=self.store,
            workers=self.job.workers,
            progress=self.progress,
        )

    @cached_property
    def train(self) -> ExpressionSet:
        """All training expressions."""
        count = self.settings.expressions.train
        return self.source.split("train", seed=self.job.seed, count=count)

    @cached_property
    def tests(self) -> list[ExpressionSet]:
        """The test sets, the job's own first."""
        own = self.job.data if self.source.is_made else "test"
        names = self.job.test or (own,)
        return [self.source.test(name, count=self.settings.expressions.test) for name in names]

    @cached_property
    def for_masks(self) -> Piece:
        """What stages 1 and 2 are trained on."""
        other = self.job.masks_from
        train = self.train
        if other:
            source = self._source(other)
            count = self.settings.expressions.train
            train = source.split("train", seed=self.job.seed, count=count)
        return train.halves(self.settings.expressions.held)[0]

    @property
    def for_method(self) -> ExpressionSet | Piece:
        """What the method learns from: what reads maps, from those the generator never saw."""
        if not self.recipe.maps or self.recipe.maps == "truth":
            return self.train
        return self.train.halves(self.settings.expressions.held)[1]

    @cached_property
    def vae(self) -> MaskVae:
        """Stage 1."""
        expressions = self.for_masks.expressions
        self._refuse_without_masks(expressions)
        stage = vae_stage(
            config=asdict(self.settings.vae),
            fit=asdict(self.settings.vae_fit),
            seed=self.job.seed,
            side=self.side,
            expressions=self.for_masks.content,
        )
        found = trained_vae(self.bench, stage, expressions)
        self.stages[VAE] = stage
        return found

    @cached_property
    def generator(self) -> MaskGenerator | IndependentMasks:
        """Stage 2, or what stands in its place."""
        independent, expressions = self.recipe.maps == "independent", self.for_masks.expressions
        if independent:
            self._refuse_without_masks(expressions)
        settings = self.settings
        pooled = settings.generator.condition == "pooled"
        vae = None if independent else self.vae
        stage = mask_generator_stage(
            config=(
                asdict(settings.generator.encoder) if independent else settings.generator.training()
            ),
            fit=asdict(settings.generator_fit),
            seed=self.job.seed,
            side=self.side,
            expressions=self.for_masks.content,
            detector="" if pooled else self.bench.content,
            clip=self._clip.identity if self._clip is not None else "",
            vae="" if independent else self.stages[VAE].key,
            independent=independent,
        )
        found: MaskGenerator | IndependentMasks
        if vae is None:
            found = trained_independent(self.bench, stage, expressions)
        else:
            found = trained_generator(
                self.bench, stage, expressions, vae, settings.generator.sampling()
            )
        self.stages[GENERATOR] = stage
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

    def maps(self, of: ExpressionSet | Piece) -> tuple[Stage, Tensor] | None:
        """Return the maps of a set with their stage; None for methods that read none."""
        if self.maps_config is None:
            return None
        recipe, expressions = self.recipe, of.expressions
        generator = self.generator if recipe.generates else None
        vae = self.vae if recipe.decodes else None
        stage = maps_stage(
            config=self.maps_config,
            sampling=self.settings.generator.sampling() if recipe.samples else {},
            seed=self.job.seed,
            side=self.side,
            expressions=of.content,
            generator=self.stages[GENERATOR].key if recipe.generates else "",
            vae=self.stages[VAE].key if recipe.decodes else "",
        )
        return stage, made_maps(self.bench, stage, expressions, vae, generator)

    @cached_property
    def _new_method(self) -> Method | None:
        if self.job.method == MAP_BOX:
            return None
        return make_method(self.recipe.method, self.detector, self.settings.method, self.job.seed)

    @cached_property
    def method(self) -> Method | None:
        """Stage 3; None where boxes are read from maps alone."""
        if self._new_method is None:
            _ = self.generator
            return None
        of = self.for_method
        maps = self.maps(of)
        stage = method_stage(
            name=self.recipe.method,
            settings=self.settings.method,
            fit=asdict(self.settings.fit),
            seed=self.job.seed,
            side=self.side,
            expressions=of.content,
            detector=self.bench.content,
            maps=maps[0].key if maps else "",
        )
        if maps:
            self.stages[MAPS] = maps[0]
        tensor = maps[1] if maps else None
        found = trained_method(self.bench, stage, of.expressions, tensor)
        self.stages[METHOD] = stage
        return found

    def score(self, test: ExpressionSet) -> tuple[Found, float]:
        """Return what was found on a test set, and milliseconds per expression for the maps."""
        method, maps = self.method, self.maps(test)
        boxes_of_maps = method is None
        stage = grounding_score_stage(
            side=self.side,
            expressions=test.content,
            detector="" if boxes_of_maps else self.bench.content,
            method="" if boxes_of_maps else self.stages[METHOD].key,
            maps=maps[0].key if maps else "",
        )
        tensor = maps[1] if maps else None
        label = f"{self.job.method} on {test.name}"
        found = scored_expressions(self.bench, stage, test.expressions, method, tensor, label)
        return found, self.store.folder(maps[0]).values()["ms"] if maps else 0.0

    def _refuse_without_masks(self, expressions: Expressions) -> None:
        if not expressions.has_masks:
            raise DataError(
                f"{self.job.data}: Diff-Prompt learns from masks, and its annotations have none; "
                "add a segmentation to each, or take a method without maps, such as vpt or lora"
            )

    @cached_property
    def side(self) -> int:
        """Pictures are resized to ``side x side``: a world's own, or what the detector reads."""
        if self.source.is_made:
            return self.train.expressions.size(0)[0]
        return self.detector.side

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
        clip = 0 if self._clip is None else _size(self._clip)
        return {
            "trainable": method,
            "generator": generator,
            "total": method + generator + detector + clip,
        }


def _size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())
