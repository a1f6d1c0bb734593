"""Look again at the test expressions of a trained run, such as to draw some of them."""

from __future__ import annotations

from pathlib import Path

from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import DataError
from diffuprompt.grounding import Expressions
from diffuprompt.jobs.grounding.data import Source
from diffuprompt.jobs.grounding.folder import GroundingFolder, read_grounding_run
from diffuprompt.record_expressions import ExpressionScores


def scored_set(
    path: Path,
    scores: ExpressionScores,
    *,
    data_root: Path | None = None,
    progress: Progress = NULL,
) -> Expressions:
    """Return the expressions that a run was scored on, in the order of its record.

    Args:
        path: the run's folder.
        scores: of its record.
        data_root: where pictures are now; None: as for the run.
        progress: shows the making of a world.

    Raises:
        DataError: the folder is no grounding run, or the expressions are others by now.
    """
    run = read_grounding_run(path)
    source = Source(
        data=run.job.data,
        root=data_root or run.job.data_root,
        store=GroundingFolder(path).store,
        workers=run.job.workers,
        progress=progress,
    )
    found = source.test(scores.test, count=run.settings.expressions.test)
    if found.content != scores.content:
        raise DataError(
            f"{path}: the test set {scores.test} is another one than it was scored on; evaluate "
            "the run again"
        )
    return found.expressions
