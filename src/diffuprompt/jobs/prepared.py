"""Everything about a job that can be known, and be wrong, before a weight is loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.checkpoints import Header, knows_only_scenes, load_clip, portable_name
from diffuprompt.clip import TextPlan
from diffuprompt.data import SCENE_STYLES, Manifest, few_shot, find_sentences, names
from diffuprompt.engine import NULL, Progress, pick
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.chain import Chain, chain_of
from diffuprompt.jobs.job import NO_GENERATOR, JobConfig, Resolved, resolve
from diffuprompt.jobs.long_names import long_names, refuse_long_names
from diffuprompt.jobs.sources import Sources, Target
from diffuprompt.learners import Classes
from diffuprompt.protocols import Roles, Selection, find_protocol, roles_of
from diffuprompt.runs import Contents, digest
from diffuprompt.stages import (
    Bench,
    Budget,
    FeatureStore,
    GridStore,
    ImageSet,
    Sentences,
    picture_hashes,
    sentences_key,
    training_key,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A job, resolved and checked.

    Attributes:
        job: as asked, with the backbone that ``auto`` means here in its place, and the names of
            the test sets that its protocol has where none was named.
        resolved: every value that its results depend on.
        manifest: the whole data set.
        roles: which of its images train and which test.
        targets: other data that it is scored on.
        sentences: about every class, where the learner reads some.
        header: of the backbone.
        subset: hash of the few-shot selection.
        inputs: what goes into the first stage, by content: "images", "backbone", "sentences".
        contents: hashes of files.
    """

    job: JobConfig
    resolved: Resolved
    manifest: Manifest
    roles: Roles
    targets: tuple[Target, ...]
    sentences: Sentences
    header: Header
    subset: str
    inputs: dict[str, str]
    contents: Contents

    @property
    def hashes(self) -> dict[str, str]:
        """What a record says of data and backbone, and what a run of 0.1 knew of its inputs."""
        return {
            "manifest": self.manifest.hash,
            "subset": self.subset,
            "backbone": self.header.weights_hash,
            "preprocess": self.header.preprocess.hash,
        }

    @property
    def chain(self) -> Chain:
        """The stages of the job."""
        return chain_of(self.resolved, self.inputs)

    @property
    def run_name(self) -> str:
        """A folder name that tells runs apart: a hash stands for everything not spelled out."""
        resolved = self.resolved
        backbone = resolved.backbone.rstrip("/").split("/")[-1]
        parts = [resolved.dataset, backbone, resolved.method, f"{resolved.shots}shot"]
        short = digest([resolved.to_json(), self.inputs])[:8]
        return "-".join([*parts, f"seed{resolved.seed}", short])

    def load(self, progress: Progress = NULL, *, save_every_s: float = 30.0) -> Bench:
        """Load the backbone and open the training images."""
        job, resolved = self.job, self.resolved
        clip = load_clip(job.backbone, device=pick(job.device))
        if job.exif_orientation:
            clip.apply_exif_orientation()
        clip.set_precision(resolved.precision)
        store = FeatureStore(
            clip,
            self.manifest.root,
            seed=resolved.seed,
            augment=resolved.train.augment,
            workers=job.workers,
            budget=Budget(job.image_memory_mib),
            contents=self.contents,
            progress=progress,
        )
        return Bench(
            clip=clip,
            train=image_set(self.roles.train, store, self.sentences),
            plan=TextPlan(memory_mib=job.text_memory_mib),
            progress=progress,
            save_every_s=save_every_s,
        )

    def read_images(self, bench: Bench) -> None:
        """Read every picture once, so that a damaged one stops the job before it trains.

        The features are needed later and kept on disk, so this costs nothing.
        """
        store = bench.train.store
        selections = (self.roles.train, *self.roles.tests.values())
        store.warm(*(selection.items for selection in selections))
        for target in self.targets:
            beside = store_beside(store, target.manifest.root, bench.progress)
            beside.warm(target.manifest.splits["test"])


def prepare(
    job: JobConfig,
    progress: Progress = NULL,
    *,
    stored: Resolved | None = None,
    sources: Sources | None = None,
) -> Prepared:
    """Open the data, look at the backbone and resolve the job; everything wrong is found here.

    Args:
        job: as asked.
        progress: shows how pictures are hashed.
        stored: the configuration of a run that exists, which then counts in the place of what the
            job would be resolved to today.
        sources: what other jobs have opened already.

    Raises:
        DataError, ConfigError, CheckpointError: what is wrong, before anything is computed.
    """
    sources = sources or Sources(rehash=job.rehash)
    contents, manifest = sources.contents, sources.manifest(job)
    job = sources.settled(job)
    header = sources.header(job)
    if stored is None and job.data not in SCENE_STYLES and knows_only_scenes(header):
        log.warning(
            "backbone %s knows only the drawn scenes world; on photographs it is near chance",
            job.backbone,
        )
    resolved = stored or resolve(
        job,
        dataset=manifest.name,
        backbone=portable_name(job.backbone),
        own_pictures=job.data not in names(),
        logit_scale=header.scale,
        counts=lambda protocol: _counts(_roles(protocol, manifest, job).train),
    )
    protocol = find_protocol(resolved.protocol)
    job, targets = sources.with_targets(job, protocol.defaults if stored is None else {})
    _check(resolved, header)
    if stored is None:
        _check_distinct(manifest, targets)
    if stored is None or targets:  # a run that exists may be scored on anything else
        _check_targets(job, resolved, manifest, targets)
    manifest.refuse(long_names(manifest.root, manifest.classes, resolved.learner_options, header))
    others = [(t.manifest.root, t.manifest.classes) for t in targets]
    refuse_long_names(others, resolved.learner_options, header)
    sentences = _sentences(job, resolved, manifest)
    chosen = few_shot(manifest, resolved.shots, resolved.seed)
    roles = roles_of(resolved.protocol, manifest, chosen)
    paths = [manifest.root / item.path for item in roles.train.items]
    inputs = {
        "images": training_key(roles.train, picture_hashes(contents, paths, progress)),
        "backbone": header.identity,
    }
    if resolved.learner_options.asks_for_sentences != "no":
        inputs["sentences"] = sentences_key(sentences)
    return Prepared(
        job=job,
        resolved=resolved,
        manifest=manifest,
        roles=roles,
        targets=targets,
        sentences=sentences,
        header=header,
        subset=chosen.hash,
        inputs=inputs,
        contents=contents,
    )


def _roles(protocol: str, manifest: Manifest, job: JobConfig) -> Roles:
    return roles_of(protocol, manifest, few_shot(manifest, job.shots, job.seed))


def _counts(selection: Selection) -> tuple[int, int]:
    return len(selection.items), len(selection.classes)


def image_set(selection: Selection, store: FeatureStore, sentences: Sentences) -> ImageSet:
    """Return images with their features and grids on demand."""
    texts = [sentences[name] for name in selection.classes] if sentences else []
    classes = Classes(selection.classes, texts)
    return ImageSet(selection.items, classes, store, GridStore(store))


def store_beside(
    own: FeatureStore, root: Path, progress: Progress, *, augment: str = ""
) -> FeatureStore:
    """Return features of images in another folder, with the memory that ``own`` leaves.

    ``augment`` is what a random view is, by default the same.
    """
    return FeatureStore(
        own.clip,
        root,
        seed=own.seed,
        augment=augment or own.augment,
        workers=own.workers,
        budget=own.budget,
        cache=own.cache,
        contents=own.contents,
        progress=progress,
    )


def _check(resolved: Resolved, header: Header) -> None:
    """Refuse what cannot be trained on this backbone."""
    options = resolved.learner_options
    problems = options.misfits(header.config, header.tokenizer)
    if options.class_bound and not find_protocol(resolved.protocol).one_list:
        problems.append(
            f"learner.{options.class_bound}: class-specific contexts cannot score new classes; "
            "use --protocol few-shot"
        )
    if options.class_bound and resolved.generator != NO_GENERATOR:
        parts = ("overfit.negatives", "fit.classes")
        values = (resolved.overfit.negatives, resolved.fit.classes)
        problems += [
            f"{name}: class-specific contexts cannot score some of the classes; set it to 0"
            for name, value in zip(parts, values, strict=True)
            if value
        ]
    if problems:
        raise ConfigError("\n  ".join(problems))


def _check_distinct(manifest: Manifest, targets: Sequence[Target]) -> None:
    """Refuse other test sets that scores could not tell apart, or that are the job's own."""
    titles = [target.title for target in targets]
    problems = [
        f"test_data: {title!r} is there twice; name it once, or rename one of the two folders"
        for title in dict.fromkeys(titles)
        if titles.count(title) > 1
    ]
    if any(target.manifest.name == manifest.name for target in targets):
        problems.append(
            f"test_data: {manifest.name!r} is the job's own data set, which its protocol tests "
            "anyway; leave it out, or rename the folder"
        )
    if problems:
        raise ConfigError("\n  ".join(problems))


def _check_targets(
    job: JobConfig, resolved: Resolved, manifest: Manifest, targets: Sequence[Target]
) -> None:
    """Refuse other test sets that the protocol does not score, or the learner cannot."""
    way = "--train-domains" if job.layout == "domains" else "--test-data"
    problems = find_protocol(resolved.protocol).misfits(
        manifest, {t.title: t.manifest.classes for t in targets}, way=way
    )
    bound = resolved.learner_options.class_bound
    if bound and targets:
        problems.append(
            f"learner.{bound}: class-specific contexts cannot score other data sets; leave out "
            "--test-data"
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
