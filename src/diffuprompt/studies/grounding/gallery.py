"""Figures of trajectories, successes and failures, drawn from the runs of the study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from diffuprompt.engine import NULL, Progress, write_bytes
from diffuprompt.grounding import draw_strips, load_grounder, png_bytes
from diffuprompt.jobs import scored_set
from diffuprompt.record_grounding import GroundingRecord, read_grounding_record
from diffuprompt.report import FIGURES
from diffuprompt.studies.grounding.choosing import Choice
from diffuprompt.studies.grounding.design import OURS
from diffuprompt.studies.grounding.examples import LEGEND, strips_of
from diffuprompt.studies.grounding.gallery_page import NOTE, PREFIX, SAMPLES, note_of

SIDE = 96  # pixels of a tile


def write_gallery(
    runs: Sequence[Path],
    out: Path,
    *,
    data_root: Path | None = None,
    progress: Progress = NULL,
) -> tuple[Path, ...]:
    """Draw examples of every world that Diff-Prompt was scored on, and return the files.

    They are those of the run with the smallest seed; other methods' runs, ablations and runs
    without a record are left out.

    Args:
        runs: folders of grounding runs.
        out: folder of the results; figures go into the one inside of it.
        data_root: where pictures are now; None: as for the runs.
        progress: shows it.

    Raises:
        DataError, CheckpointError: a run cannot be read, or was scored on other expressions.
    """
    chosen: dict[str, tuple[int, Path, GroundingRecord]] = {}
    for path in runs:
        file = path / "record.json"
        record = read_grounding_record(file) if file.is_file() else None
        if record is None or record.job.method != OURS or record.job.setting:
            continue
        world, seed = record.job.dataset, record.job.seed
        if record.scores(world) is not None and seed < chosen.get(world, (seed + 1,))[0]:
            chosen[world] = (seed, path, record)
    written = []
    with progress.task("drawing examples", total=len(chosen)) as task:
        for world, (_, path, record) in chosen.items():
            target = out / FIGURES / f"{PREFIX}{world}.png"
            write_bytes(target, _drawn(path, record, data_root, progress))
            written.append(target)
            task.advance()
    return tuple(written)


def _drawn(
    path: Path, record: GroundingRecord, data_root: Path | None, progress: Progress
) -> bytes:
    world, seed = record.job.dataset, record.job.seed
    scores = record.scores(world)
    assert scores is not None, "others are left out before"
    expressions = scored_set(path, scores, data_root=data_root, progress=progress)
    note = note_of(world, seed, scores)
    chosen = [Choice(**fields) for fields in note.chosen]
    strips = strips_of(
        load_grounder(path), expressions, chosen, scope=scores.content, samples=SAMPLES
    )
    image = draw_strips(strips, side=SIDE, head=LEGEND)
    return png_bytes(image, texts={NOTE: json.dumps(asdict(note))}, small=True)
