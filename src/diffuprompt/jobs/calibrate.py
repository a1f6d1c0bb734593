"""Fit an artifact's temperature and its threshold for "none of these" on held-out pictures.

Pictures of the validation split serve where there are enough: nothing was trained on them. Else the
training pictures are held out in turn, each from a training of its own. Test pictures are not
opened.

Legend: N known image, U unknown image, C class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal, get_args

import torch
from torch import Tensor

from diffuprompt.data import Item, few_shot, find_pictures, names
from diffuprompt.engine import NULL, Progress, write_text
from diffuprompt.errors import DataError
from diffuprompt.generators import PromptGenerator
from diffuprompt.hub import DEFAULT, Calibration, Scores, known, load_artifact, write_calibration
from diffuprompt.jobs.folds import folds_of, hold_out
from diffuprompt.jobs.prepared import Prepared, image_set, prepare, store_beside
from diffuprompt.jobs.run_folder import RunFolder, read_run
from diffuprompt.jobs.same_inputs import check_at_hand, check_inputs
from diffuprompt.jobs.sources import Sources
from diffuprompt.jobs.train import train_stages
from diffuprompt.learners import Learner
from diffuprompt.protocols import Selection, select
from diffuprompt.record import read_record
from diffuprompt.runs import Store
from diffuprompt.stages import (
    Bench,
    FeatureStore,
    Maker,
    auroc,
    best_threshold,
    crossed,
    error_of,
    fitted_temperature,
    fpr_at_tpr,
    generated_prompts,
    is_closer,
    logits_of,
    threshold_of,
)

ENOUGH = 20  # validation pictures: below, a twentieth of them is not even one
FOLDS = 4
MEASURED = ("ece_", "unknown_")  # what `Calibration.measured` holds
KINDS: tuple[Scores, ...] = get_args(Scores)


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """Answers on pictures of the names that nothing was trained on."""

    logits: Tensor
    labels: Tensor
    source: Literal["val", "folds"]


def calibrate_run(
    run: Path,
    *,
    unknown: Path | None = None,
    folds: int = FOLDS,
    train: bool = True,
    progress: Progress = NULL,
) -> Calibration | None:
    """Fit what `Calibration` holds, put it into the run's artifact, and return it.

    A record that there is says from then on what was measured.

    Args:
        run: a trained run.
        unknown: a folder of pictures that show none of the names, at any depth.
        folds: parts of the training pictures, where these have to be held out.
        train: whether to train for that; else None is returned where there are fewer than
            `ENOUGH` validation pictures.
        progress: shows what is going on.

    Raises:
        DataError: no trained run, no picture in ``unknown``, or none that can be held out.
        ConfigError: the run was trained on other images than are there now.
        CheckpointError: the backbone or the artifact is not the one that was trained.
    """
    folder = RunFolder(Path(run))
    stored = read_run(folder.path)
    if not folder.is_trained:
        raise DataError(f"{folder.path}: not trained to the end; give its command again first")
    others = None if unknown is None else unknown_pictures(unknown)
    check_at_hand(folder, stored.job)
    sources = Sources(training_only=not stored.is_old)  # which hashed the list of test images too
    job = replace(stored.job, test_data=())
    prepared = prepare(job, progress, stored=stored.resolved, sources=sources)
    check_inputs(folder, stored, prepared)
    trained = prepared.roles.train.classes
    val = _val(prepared, trained)
    if len(val.items) < ENOUGH and not train:
        return None
    bench = prepared.load(progress)
    artifact = load_artifact(folder.artifact, clip=bench.clip, plan=bench.plan)
    learner, make = artifact.learner, _maker(artifact.generator)
    if len(val.items) < ENOUGH:
        held = _by_folds(prepared, bench, folder.store, folds)
    else:
        images = image_set(val, bench.train.store, {})
        held = HeldOut(logits=logits_of(learner, images, make), labels=images.labels, source="val")
    store = bench.train.store
    away = strange = None
    if others is not None:
        root, items = others
        away = _away(items, store_beside(store, root, progress), bench, learner, make)
    elif untrained := [name for name in prepared.manifest.classes if name not in trained]:
        strange = _away(_val(prepared, untrained).items, store, bench, learner, make)
    found = fitted(held, away, strange)
    with folder.held():
        write_calibration(folder.artifact, found)
        if folder.is_finished:
            _update_record(folder.record, found)
    return found


def _update_record(path: Path, found: Calibration) -> None:
    """Put what was measured in the place of what a calibration of before had measured."""
    record = read_record(path)
    rest = {k: v for k, v in record.statistics.items() if not k.startswith(MEASURED)}
    record = record.model_copy(update={"statistics": {**rest, **found.measured}})
    write_text(path, record.model_dump_json(indent=1) + "\n")


def fitted(
    held: HeldOut,
    others_UC: Tensor | None = None,
    strange_UC: Tensor | None = None,
    score: Scores = DEFAULT,
) -> Calibration:
    """Return the calibration of some answers.

    The temperature stays 1 unless one that is fitted on half of the pictures lowers the
    cross-entropy of the other half. Without others the threshold lets 95 % of the held-out pictures
    through; with them it is the one that tells both apart best.

    Args:
        held: answers on pictures of the names.
        others_UC: logits of unknown pictures.
        strange_UC: logits of pictures of classes that were not trained; they measure and do not
            fit. None: names that are left out play them.
        score: what is compared with the threshold.
    """
    logits_NC, labels_N = held.logits, held.labels.cpu()
    after_NC, temperature = logits_NC, 1.0
    honest_NC = crossed(logits_NC, labels_N)
    if is_closer(honest_NC, logits_NC, labels_N):
        after_NC, temperature = honest_NC, fitted_temperature(logits_NC, labels_N)
    known_N = known(logits_NC, score, temperature)
    threshold = threshold_of(known_N)
    if strange_UC is None:
        pairs = _names_left_out(logits_NC, labels_N)
    else:
        pairs = [(logits_NC, strange_UC)] if len(strange_UC) else []
    if others_UC is not None:
        threshold = best_threshold(known_N, known(others_UC, score, temperature))
        pairs = [(logits_NC, others_UC)]
    measured = {
        "ece_before": 100 * error_of(logits_NC, labels_N),
        "ece_after": 100 * error_of(after_NC, labels_N),
    }
    for kind in KINDS if pairs else ():
        told = [(known(a, kind, temperature), known(b, kind, temperature)) for a, b in pairs]
        measured[f"unknown_auroc_{kind}"] = 100 * fmean(auroc(*both) for both in told)
        measured[f"unknown_fpr95_{kind}"] = 100 * fmean(fpr_at_tpr(*both) for both in told)
    return Calibration(
        temperature=temperature,
        score=score,
        threshold=threshold,
        pictures=len(labels_N),
        others=0 if others_UC is None else len(others_UC),
        held_out=held.source,
        measured=measured,
    )


def _names_left_out(logits_NC: Tensor, labels_N: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return logits among half of the names of pictures of that half, and of the other half.

    Once for each half. With fewer than four names a half has nothing to choose from.
    """
    num = logits_NC.shape[1]
    half = (num + 1) // 2
    found = []
    for part in (range(half), range(half, num)):
        inside = (labels_N >= part.start) & (labels_N < part.stop)
        among = logits_NC[:, part.start : part.stop]
        if len(part) > 1 and inside.any() and not inside.all():
            found.append((among[inside], among[~inside]))
    return found if num > 3 else []


def _val(prepared: Prepared, classes: Sequence[str]) -> Selection:
    """Return validation pictures of some classes, labelled among them.

    Of a published data set they are the few that a few-shot benchmark allows, of a user's own all.
    """
    manifest, resolved = prepared.manifest, prepared.resolved
    if prepared.job.data in names():
        manifest = few_shot(manifest, resolved.shots, resolved.seed)
    return select(manifest.select([manifest.classes.index(name) for name in classes]), "val")


def _by_folds(prepared: Prepared, bench: Bench, store: Store, folds: int) -> HeldOut:
    """Train without each fold, and return the answers on it; finished stages are found again."""
    labels = [item.label for item in prepared.roles.train.items]
    fold_of = folds_of(labels, folds)
    logits, truth = [], []
    for number in sorted({f for f in fold_of if f is not None}):
        held = [p for p, fold in enumerate(fold_of) if fold == number]
        part = hold_out(prepared, bench, held)
        made = train_stages(part.prepared, part.bench, store)
        logits.append(logits_of(made.learner, part.held, _maker(made.generator)))
        truth.append(part.held.labels.cpu())
    return HeldOut(logits=torch.cat(logits), labels=torch.cat(truth), source="folds")


def _maker(generator: PromptGenerator | None) -> Maker | None:
    return None if generator is None else generated_prompts(generator)


def unknown_pictures(folder: Path) -> tuple[Path, tuple[Item, ...]]:
    """Return a folder of unknown pictures, and these.

    Raises:
        DataError: it is none, or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"unknown: {folder} is no folder; name one with pictures of other things")
    found = find_pictures(folder).pictures
    if not found:
        raise DataError(
            f"unknown: no pictures in {folder}; put some in that show none of the names, or leave "
            "--unknown out"
        )
    return folder, tuple(Item(path.relative_to(folder).as_posix(), 0) for path in found)


def _away(
    items: Sequence[Item], store: FeatureStore, bench: Bench, learner: Learner, make: Maker | None
) -> Tensor:
    """Return the logits ``(U, C)`` of unknown pictures, whose labels count for nothing."""
    images = image_set(Selection(items=tuple(items), classes=bench.train.classes.names), store, {})
    return logits_of(learner, images, make)
