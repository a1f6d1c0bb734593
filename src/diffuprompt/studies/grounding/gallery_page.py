"""Figures of examples on the page of results: a PNG says inside of itself what it shows.

It is shown only beside the records that its examples were chosen by. Loads no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from diffuprompt.errors import DataError
from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.report import FIGURES, GroundingSource
from diffuprompt.studies.grounding.choosing import choose
from diffuprompt.studies.grounding.design import OURS

PREFIX = "examples-"  # of the files
NOTE = "diffuprompt"  # name of the text inside of a PNG
UNSHARED = ("collages",)  # show other people's photographs: drawn, and on no page
SAMPLES = 8  # draws of masks for each example


@dataclass(frozen=True, kw_only=True)
class GalleryNote:
    """What a figure says of itself.

    Attributes:
        world: what the run learned from and is tested on.
        seed: of the run.
        content: hash of the test set.
        chosen: its expressions, the fields of `choosing.Choice`.
    """

    world: str
    seed: int
    content: str
    chosen: list[dict[str, Any]]


def note_of(world: str, seed: int, scores: ExpressionScores) -> GalleryNote:
    """Return what a figure of a record's test set says of itself."""
    chosen = choose(scores.kind_names(), scores.ranks())
    each = [asdict(choice) for choice in chosen]
    return GalleryNote(world=world, seed=seed, content=scores.content, chosen=each)


def shown_galleries(folder: Path, sources: Sequence[GroundingSource]) -> dict[str, str]:
    """Return for each world the Markdown of its figure in ``folder``, where there is one.

    A figure of a run, or of ranks, that are not those of the records is not shown, nor one of
    other people's photographs.
    """
    found = {}
    for path in sorted((folder / FIGURES).glob(f"{PREFIX}*.png")):
        note = read_note(path)
        scores = _scores_of(note, sources)
        if note.world in UNSHARED:
            continue
        if scores is not None and note_of(note.world, note.seed, scores) == note:
            found[note.world] = _markdown(path, note)
    return found


def read_note(path: Path) -> GalleryNote:
    """Return what a figure says of itself.

    Raises:
        DataError: it is no figure of `write_gallery`.
    """
    try:
        with Image.open(path) as image:
            image.load()
            text = getattr(image, "text", {}).get(NOTE, "")
        return GalleryNote(**json.loads(text))
    except (OSError, ValueError, TypeError, SyntaxError) as cause:
        raise DataError(
            f"{path}: no figure of 'diffuprompt ground study'; delete it, or draw it again"
        ) from cause


def _scores_of(note: GalleryNote, sources: Sequence[GroundingSource]) -> ExpressionScores | None:
    for source in sources:
        job = source.record.job
        if (job.dataset, job.method, job.setting, job.seed) == (note.world, OURS, "", note.seed):
            return source.record.scores(note.world)
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
