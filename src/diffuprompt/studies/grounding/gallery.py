"""Figures of trajectories, successes and failures: drawn from runs, shown on the page of results.

A PNG says inside of itself what it shows, and the page shows it only beside the records that it was
chosen by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffuprompt.engine import NULL, Progress, write_bytes
from diffuprompt.errors import DataError
from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.record_grounding import GroundingRecord, read_grounding_record
from diffuprompt.report import FIGURES, GroundingSource
from diffuprompt.studies.grounding.choosing import choose
from diffuprompt.studies.grounding.design import OURS

PREFIX = "examples-"  # of the files
SAMPLES = 8  # draws of masks for each example
SIDE = 96  # pixels of a tile
NOTE = "diffuprompt"  # name of the text inside of a PNG


@dataclass(frozen=True, kw_only=True)
class GalleryNote:
    """What a figure says of itself.

    Attributes:
        world: what the run learned from and is tested on.
        seed: of the run.
        content: hash of the test set.
        chosen: its expressions, as `choosing.Choice`.
    """

    world: str
    seed: int
    content: str
    chosen: list[dict[str, Any]]


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


def shown_galleries(folder: Path, sources: Sequence[GroundingSource]) -> dict[str, str]:
    """Return for each world the Markdown of its figure in ``folder``, where there is one.

    A figure of a run, or of ranks, that are not those of the records is not shown.
    """
    found = {}
    for path in sorted((folder / FIGURES).glob(f"{PREFIX}*.png")):
        note = read_note(path)
        scores = _scores_of(note, sources)
        if scores is not None and _chosen(scores) == note.chosen:
            found[note.world] = _markdown(path, note)
    return found


def read_note(path: Path) -> GalleryNote:
    """Return what a figure says of itself.

    Raises:
        DataError: it is no figure of `write_gallery`.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            text = getattr(image, "text", {}).get(NOTE, "")
        return GalleryNote(**json.loads(text))
    except (OSError, ValueError, TypeError, SyntaxError) as cause:
        raise DataError(
            f"{path}: no figure of 'diffuprompt ground study'; delete it, or draw it again"
        ) from cause


def _drawn(
    path: Path, record: GroundingRecord, data_root: Path | None, progress: Progress
) -> bytes:
    from diffuprompt.grounding import draw_strips, load_grounder, png_bytes
    from diffuprompt.jobs import scored_set
    from diffuprompt.studies.grounding.examples import LEGEND, strips_of

    scores = record.scores(record.job.dataset)
    assert scores is not None
    expressions = scored_set(path, scores, data_root=data_root, progress=progress)
    chosen = choose(scores.kind_names(), scores.ranks())
    strips = strips_of(
        load_grounder(path), expressions, chosen, scope=scores.content, samples=SAMPLES
    )
    note = GalleryNote(
        world=record.job.dataset,
        seed=record.job.seed,
        content=scores.content,
        chosen=[asdict(choice) for choice in chosen],
    )
    image = draw_strips(strips, side=SIDE, head=LEGEND)
    return png_bytes(image, note=json.dumps(asdict(note)), small=True)


def _chosen(scores: ExpressionScores) -> list[Mapping[str, Any]]:
    return [asdict(choice) for choice in choose(scores.kind_names(), scores.ranks())]


def _scores_of(note: GalleryNote, sources: Sequence[GroundingSource]) -> ExpressionScores | None:
    for source in sources:
        job = source.record.job
        if (job.dataset, job.method, job.setting, job.seed) == (note.world, OURS, "", note.seed):
            scores = source.record.scores(note.world)
            return scores if scores is not None and scores.content == note.content else None
    return None


def _markdown(path: Path, note: GalleryNote) -> str:
    alt = f"Examples of {note.world}: boxes, trajectories of masks, and their spread"
    return (
        f"![{alt}]({FIGURES}/{path.name})\n\n"
        f"Diff-Prompt, seed {note.seed}, chosen by a seeded rule from its record: of every kind, "
        "expressions whose best box is a good one (found) and others (missed). From left to right: "
        "the picture (green: the true box; orange: Diff-Prompt's best; blue: the frozen detector's "
        "best), the masks along one trajectory from the noisiest to the cleanest, then mean and "
        f"standard deviation of the cleanest masks of {SAMPLES} draws, half being white."
    )
