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

from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.features import FeatureStore
from diffuprompt.clip.grids import GridStore
from diffuprompt.clip.load import load_clip, portable_name
from diffuprompt.clip.model import Clip
from diffuprompt.clip.peek import peek_clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.data.catalog import names
from diffuprompt.data.fewshot import base_new, few_shot
from diffuprompt.data.images import ImageBatch, Needs
from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.sentences import Sentences, find_sentences
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
FEATURES = Needs()


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Some images with labels among ``classes``, and their prompt-free features on demand."""

    items: tuple[Item, ...]
    classes: Classes
    store: FeatureStore
    grids: GridStore | None = None

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

    def batch(
        self,
        index: Tensor,
        view: int | None = None,
        *,
        needs: Needs = FEATURES,
        second: int | None = None,
        keep: bool = True,
    ) -> ImageBatch:
        """Return the images at ``index``.

        Args:
            index: positions ``(B,)``.
            view: a random view, or None for the test view.
            needs: what the batch carries.
            second: the other view, where one is needed.
            keep: whether the view will be asked for in other epochs.
        """
        features = grid = other = None
        if needs.features:
            features = (self.features if view is None else self.view(view, keep=keep))[index]
        if needs.second and second is not None:
            other = self.view(second, keep=keep)[index]
        if needs.grid:
            assert self.grids is not None, "this image set was made without grids"
            grid = self.grids.get(self.items, index.tolist(), view, keep=keep)
        return ImageBatch(None, self.labels[index], index, features, grid, other)

    def warm(self, needs: Needs) -> None:
        """Compute or read what does not depend on prompts, of the test view, ahead of time."""
        if needs.features:
            _ = self.features
        if needs.grid and self.grids is not None:
            self.grids.fill(self.items, None)

    def view(self, view: int, *, keep: bool = True) -> Tensor:
        """Features ``(N, E)`` of one random view.

        They are kept while the memory budget lasts, where ``keep`` says that they will be asked
        for again, and read from disk otherwise; the two views an epoch works on are always here.
        """
        kept: dict[int, Tensor] = self.__dict__.setdefault("_kept", {})
        epoch: dict[int, Tensor] = self.__dict__.setdefault("_epoch", {})
        if view in kept:
            return kept[view]
        if view not in epoch:
            features = self.store.train(self.items, view)
            if keep and self.store.budget.take(features.nbytes):
                return kept.setdefault(view, features)
            if len(epoch) > 1:
                del epoch[next(iter(epoch))]
            epoch[view] = features
        return epoch[view]


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
    seen = peek_clip(job.backbone)
    if seen is not None:  # what is wrong with the options is said before any weight is loaded
        early = _resolve(job, manifest, seen.scale)
        _check(early, seen.config)
        _sentences(job, early, manifest)
    clip = load_clip(job.backbone, device=device)
    clip.set_precision(job.precision)
    resolved = _resolve(job, manifest, float(clip.scale))
    _check(resolved, clip.config)
    sentences = _sentences(job, resolved, manifest)
    chosen = few_shot(manifest, job.shots, job.seed)
    store = FeatureStore(
        clip,
        manifest.root,
        seed=job.seed,
        augment=resolved.train.augment,
        workers=job.workers,
        memory_mib=job.image_memory_mib,
        progress=progress,
    )
    grids = GridStore(store)

    def images(part: Manifest, split: Split) -> ImageSet:
        texts = [sentences[name] for name in part.classes] if sentences else []
        return ImageSet(part.splits[split], Classes(part.classes, texts), store, grids)

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
    if resolved.learner_options.asks_for_sentences != "no":
        text = json.dumps(sentences, sort_keys=True).encode()
        hashes["sentences"] = hashlib.sha256(text).hexdigest()[:16] if sentences else "templates"
    plan = TextPlan(memory_mib=job.text_memory_mib)
    return Workbench(resolved, clip, train, tests, hashes, plan)


def _resolve(job: JobConfig, manifest: Manifest, scale: float) -> Resolved:
    return resolve(
        job,
        dataset=manifest.name,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=scale,
    )


def _check(resolved: Resolved, config: ClipConfig) -> None:
    """Refuse what cannot be trained on these towers or scored by this protocol."""
    problems = resolved.learner_options.misfits(config)
    if resolved.options.get("class_specific") and resolved.protocol != "few-shot":
        problems.append(
            "learner.class_specific: class-specific contexts cannot score new classes; "
            "use --protocol few-shot"
        )
    if problems:
        raise ConfigError("\n  ".join(problems))


def _sentences(job: JobConfig, resolved: Resolved, manifest: Manifest) -> Sentences:
    """Return sentences about every class where the learner asks for them and there are any."""
    asked = resolved.learner_options.asks_for_sentences
    if asked == "no":
        return {}
    required = asked == "llm"
    return find_sentences(manifest.name, manifest.classes, root=job.data_root, required=required)


def learner_logits(learner: Learner, images: ImageSet) -> Any:
    """Return ``logits(flat (B, F), index (B,)) -> (B, C)`` over ``images`` in the test view."""

    def logits(flat_BF: Tensor, index_B: Tensor) -> Tensor:
        prompts = learner.spec.unpack(flat_BF)
        return learner.logits(images.batch(index_B, needs=learner.needs), images.classes, prompts)

    return logits


@torch.no_grad()
def own_prompts(learner: Learner, images: ImageSet, size: int = 1024) -> Tensor:
    """Return the learner's own prompts V0 for every image, ``(N, F)``."""
    rows: Sequence[Tensor] = [
        learner.spec.pack(learner.prompts(part)).expand(len(part), -1)
        for part in images.features.split(size)
    ]
    return torch.cat(list(rows)).clone()
