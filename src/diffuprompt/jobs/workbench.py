"""What training and evaluation of one job share: data halves, backbone, features, learner."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.load import load_clip, portable_name
from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import Encoder
from diffuprompt.data.catalog import names
from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.sentences import Sentences, find_sentences
from diffuprompt.data.sources import open_dataset
from diffuprompt.engine.device import pick
from diffuprompt.engine.progress import Progress
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.job import JobConfig, Resolved, resolve
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner
from diffuprompt.protocols.roles import Part, Subset, split_by_protocol
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.grids import GridStore
from diffuprompt.stages.image_set import ImageSet


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
        return build_learner(
            self.resolved.learner,
            self.clip,
            self.resolved.learner_options.for_classes(self.train.classes.names),
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
    seen = read_header(job.backbone)
    if seen is not None:  # what is wrong with the options is said before any weight is loaded
        early = _resolve(job, manifest, seen.scale)
        _check(early, seen.config, seen.tokenizer)
        _sentences(job, early, manifest)
    clip = load_clip(job.backbone, device=device)
    clip.set_precision(job.precision)
    resolved = _resolve(job, manifest, float(clip.scale))
    _check(resolved, clip.config, clip.tokenizer)
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

    def images(part: Part) -> ImageSet:
        texts = [sentences[name] for name in part.classes] if sentences else []
        return ImageSet(part.items, Classes(part.classes, texts), store, grids)

    parts = split_by_protocol(resolved.protocol, manifest, chosen)
    train = images(parts.train)
    tests = {subset: images(part) for subset, part in parts.tests.items()}
    hashes = _hashes(resolved, manifest, chosen, clip, sentences)
    plan = TextPlan(memory_mib=job.text_memory_mib)
    return Workbench(resolved, clip, train, tests, hashes, plan)


def _hashes(
    resolved: Resolved, manifest: Manifest, chosen: Manifest, clip: Clip, sentences: Sentences
) -> dict[str, str]:
    """Name the content of everything outside the job that a result depends on."""
    hashes = {
        "manifest": manifest.hash,
        "subset": chosen.hash,
        "backbone": clip.weights_hash,
        "preprocess": clip.preprocess.hash,
    }
    if resolved.learner_options.asks_for_sentences != "no":
        text = json.dumps(sentences, sort_keys=True).encode()
        hashes["sentences"] = hashlib.sha256(text).hexdigest()[:16] if sentences else "templates"
    return hashes


def _resolve(job: JobConfig, manifest: Manifest, scale: float) -> Resolved:
    return resolve(
        job,
        dataset=manifest.name,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=scale,
    )


def _check(resolved: Resolved, config: ClipConfig, tokenizer: Encoder) -> None:
    """Refuse what cannot be trained on this backbone or scored by this protocol."""
    options = resolved.learner_options
    problems = options.misfits(config, tokenizer)
    if options.class_bound and resolved.protocol != "few-shot":
        problems.append(
            f"learner.{options.class_bound}: class-specific contexts cannot score new classes; "
            "use --protocol few-shot"
        )
    if options.class_bound and resolved.generator != "none":
        parts = ("overfit.negatives", "fit.classes")
        values = (resolved.overfit.negatives, resolved.fit.classes)
        problems += [
            f"{name}: class-specific contexts cannot score some of the classes; set it to 0"
            for name, value in zip(parts, values, strict=True)
            if value
        ]
    if problems:
        raise ConfigError("\n  ".join(problems))


def _sentences(job: JobConfig, resolved: Resolved, manifest: Manifest) -> Sentences:
    """Return sentences about every class where the learner asks for them and there are any."""
    asked = resolved.learner_options.asks_for_sentences
    if asked == "no":
        return {}
    required = asked == "llm"
    return find_sentences(manifest.name, manifest.classes, root=job.data_root, required=required)
