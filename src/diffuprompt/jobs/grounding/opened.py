"""What a grounding job works with: detector, CLIP and expressions, each opened when asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from diffuprompt.checkpoints import load_clip
from diffuprompt.clip import Clip
from diffuprompt.engine import Progress, pick
from diffuprompt.grounding import Detector, open_detector
from diffuprompt.jobs.grounding.data import ExpressionSet, Piece, Source
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.recipes import Recipe, find_recipe
from diffuprompt.jobs.grounding.settings import Settings
from diffuprompt.runs import Store
from diffuprompt.stages import GroundingBench

CLIPS = {"scenes": "scenes-clip", "crowds": "scenes-clip"}  # of pooled features
PHOTO_CLIP = "photo-clip-lite"


class OpenedJob:
    """One job with its settings; nothing is opened before it is asked for."""

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

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        return pick(self.job.device)

    @cached_property
    def detector(self) -> Detector:
        """The frozen detector; raises `ConfigError` where "auto" means none."""
        found = open_detector(self.job.detector_name)
        found.module.to(self.device)
        return found

    @cached_property
    def bench(self) -> GroundingBench:
        """What stages work with, at the size of the training pictures."""
        return GroundingBench(
            detector=self.detector,
            content=self.detector.content,
            clip=self.clip,
            side=self.side,
            store=self.store,
            progress=self.progress,
            save_every_s=self.save_every_s,
        )

    def bench_for(self, of: ExpressionSet | Piece) -> GroundingBench:
        """Return the same at the size of a set's pictures."""
        return replace(self.bench, side=self.side_of(of))

    @property
    def is_pooled(self) -> bool:
        """Whether masks are generated from CLIP's features."""
        drawn = self.recipe.generates and self.recipe.maps != "independent"
        return drawn and self.settings.generator.condition == "pooled"

    @cached_property
    def clip(self) -> Clip | None:
        """Of pooled features, the one that the mask generator learned with; None without them."""
        if not self.is_pooled:
            return None
        name = CLIPS.get(self.job.masks_from or self.job.data, PHOTO_CLIP)
        return load_clip(name).to(self.device)

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
        return self._train(self.source, self.settings.expressions.domain)

    def _train(self, source: Source, domain: str = "") -> ExpressionSet:
        count = self.settings.expressions.train
        return source.split("train", seed=self.job.seed, count=count, domain=domain)

    @cached_property
    def tests(self) -> list[ExpressionSet]:
        """The test sets, the job's own first."""
        own = self.job.data if self.source.is_made else "test"
        names = self.job.test or (own,)
        return [self.source.test(name, count=self.settings.expressions.test) for name in names]

    @cached_property
    def for_masks(self) -> Piece:
        """What stages 1 and 2 are trained on, at its own size of pictures."""
        other = self.job.masks_from
        train = self._train(self._source(other)) if other else self.train
        return train.halves(self.settings.expressions.held)[0]

    @property
    def for_method(self) -> ExpressionSet | Piece:
        """What the method learns from: what reads maps, from those the generator never saw."""
        if not self.recipe.maps or self.recipe.maps == "truth":
            return self.train
        return self.train.halves(self.settings.expressions.held)[1]

    @property
    def side(self) -> int:
        """Training pictures are resized to ``side x side``."""
        return self.side_of(self.train)

    def side_of(self, of: ExpressionSet | Piece) -> int:
        """Return the size that a set is read at: a made world's own, or what the detector reads.

        Each made world has its own, so that objects are as large as in training: what was trained
        on scenes reads crowds, which are four times as large, without resizing them.
        """
        return of.expressions.size(0)[0] if of.source.is_made else self.detector.side
