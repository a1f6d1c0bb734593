"""What training and evaluation of one job share: data halves, backbone, features, learner.

Legend: B image, C class, E embedding, F flat, N all images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from diffuprompt.clip.features import FeatureStore
from diffuprompt.clip.load import load_clip, portable_name
from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.data.catalog import names
from diffuprompt.data.fewshot import base_new, few_shot
from diffuprompt.data.images import ImageBatch
from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.sources import open_dataset
from diffuprompt.engine.device import pick
from diffuprompt.engine.progress import Progress
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner
from diffuprompt.protocols.job import JobConfig, Resolved, resolve

Subset = Literal["base", "new", "all"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Some images with labels among ``classes``, and their prompt-free features on demand."""

    items: tuple[Item, ...]
    classes: Classes
    store: FeatureStore

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def labels(self) -> Tensor:
        """Labels ``(N,)``."""
        return torch.tensor([i.label for i in self.items], device=self.store.clip.device)

    @cached_property
    def features(self) -> Tensor:
        """Features ``(N, E)`` of the test view."""
        return self.store.test(self.items)

    def batch(self, index: Tensor, view: int | None = None) -> ImageBatch:
        """Return images at ``index``, in the test view or in random view ``view``."""
        features = self.features if view is None else self.view(view)
        return ImageBatch(None, self.labels[index], index, features[index])

    def view(self, view: int) -> Tensor:
        """Features ``(N, E)`` of one random view; the last one asked for is kept in memory."""
        kept: dict[int, Tensor] = self.__dict__.setdefault("_kept", {})
        if view not in kept:
            kept.clear()
            kept[view] = self.store.train(self.items, view)
        return kept[view]


@dataclass(frozen=True, eq=False)
class Workbench:
    """A job with everything loaded: training images, test images a subset, backbone."""

    resolved: Resolved
    clip: Clip
    train: ImageSet
    tests: dict[Subset, ImageSet]
    hashes: dict[str, str]
    plan: TextPlan

    def build_learner(self) -> Learner:
        """Return the untrained learner, initialised from the job's seed."""
        options = dict(self.resolved.options)
        if "class_specific" in options:
            options["class_specific"] = len(self.train.classes) * bool(options["class_specific"])
        return build_learner(
            self.resolved.learner,
            self.clip,
            options,
            plan=self.plan,
            generator=torch_stream(self.resolved.seed, "init"),
        )

    def read_images(self) -> None:
        """Read every picture once, so that a damaged one stops the job before it trains.

        The features are needed later and kept on disk, so this costs nothing.
        """
        for images in (self.train, *self.tests.values()):
            _ = images.features

    @property
    def fingerprint(self) -> str:
        """A hash of all that training depends on."""
        text = json.dumps([self.resolved.hash, self.hashes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare(job: JobConfig, progress: Progress) -> Workbench:
    """Open the data, load the backbone and resolve the job; everything wrong is found here."""
    manifest = open_dataset(job.data, root=job.data_root)
    manifest.check(needs=("train", "test"))
    device = pick(job.device)
    clip = load_clip(job.backbone, device=device)
    resolved = resolve(
        job,
        dataset=manifest.name,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=float(clip.scale),
    )
    if resolved.options.get("class_specific") and resolved.protocol != "few-shot":
        raise ConfigError(
            "learner.class_specific: class-specific contexts cannot score new classes; "
            "use --protocol few-shot"
        )
    chosen = few_shot(manifest, job.shots, job.seed)
    store = FeatureStore(clip, manifest.root, seed=job.seed, workers=job.workers, progress=progress)

    def images(part: Manifest, split: Split) -> ImageSet:
        return ImageSet(part.splits[split], Classes(part.classes), store)

    if resolved.protocol == "holdout":
        # Settings are chosen here: half of the base classes play the new ones, and all val images
        # the test images. Neither a new class nor a test image is seen.
        base, new = base_new(base_new(chosen)[0])
        half = base_new(manifest)[0].check(needs=("train", "val"))
        whole = base_new(half)
        train = images(base, "train")
        tests: dict[Subset, ImageSet] = {
            "base": images(whole[0], "val"),
            "new": images(whole[1], "val"),
        }
    elif resolved.protocol == "base-to-new":
        base, new = base_new(chosen)
        train = images(base, "train")
        tests = {"base": images(base, "test"), "new": images(new, "test")}
    else:
        train, tests = images(chosen, "train"), {"all": images(chosen, "test")}
    alone = [f"{s} has {list(i.classes.names)}" for s, i in tests.items() if len(i.classes) < 2]
    if alone:
        raise DataError(
            f"{manifest.root}: {len(manifest.classes)} classes are too few for the protocol "
            f"{resolved.protocol}: {' and '.join(alone)}, which leaves nothing to tell apart; "
            "use --protocol few-shot, or add classes"
        )
    hashes = {
        "manifest": manifest.hash,
        "subset": chosen.hash,
        "backbone": clip.weights_hash,
        "preprocess": clip.preprocess.hash,
    }
    plan = TextPlan(memory_mib=job.text_memory_mib)
    return Workbench(resolved, clip, train, tests, hashes, plan)


def learner_logits(learner: Learner, images: ImageSet) -> Any:
    """Return ``logits(flat (B, F), index (B,)) -> (B, C)`` over ``images`` in the test view."""

    def logits(flat_BF: Tensor, index_B: Tensor) -> Tensor:
        prompts = learner.spec.unpack(flat_BF)
        return learner.logits(images.batch(index_B), images.classes, prompts)

    return logits


@torch.no_grad()
def own_prompts(learner: Learner, images: ImageSet, size: int = 1024) -> Tensor:
    """Return the learner's own prompts V0 for every image, ``(N, F)``."""
    rows: Sequence[Tensor] = [
        learner.spec.pack(learner.prompts(part)).expand(len(part), -1)
        for part in images.features.split(size)
    ]
    return torch.cat(list(rows)).clone()
