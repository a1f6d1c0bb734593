"""Which method for these pictures: trials by successive halving, then the ranking."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from diffuprompt.choosing.halving import halve, rounds
from diffuprompt.choosing.question import Question
from diffuprompt.choosing.ranking import Choice, ranked
from diffuprompt.choosing.trials import Trials
from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import ConfigError

log = logging.getLogger(__name__)


def choose(
    question: Question,
    progress: Progress = NULL,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Choice:
    """Return which method is best on held-out training pictures, found within the budget.

    No test picture is opened, or even looked for. What is finished is kept beside the runs and
    found again, so a call that was interrupted, or one with more minutes, goes on.

    Raises:
        DataError: the pictures cannot be read, or none can be held out.
        ConfigError: no method fits, or none finished in time.
        CheckpointError: there is no such backbone.
    """
    start = clock()
    trials = Trials(question, progress, clock)
    first, plan = trials.first(), rounds(trials.num_folds)
    standings = halve(
        first,
        plan,
        60 * question.minutes - (clock() - start),
        trials.attempt,
        clock=clock,
        ready=trials.ready,
        partners=trials.partners,
        told=log.info,
    )
    if all(standing.result is None or standing.failure for standing in standings):
        told = [f"{s.candidate.title}: {s.failure or 'out of time'}" for s in standings]
        raise ConfigError(
            "\n  ".join(
                [
                    f"minutes: nothing was finished in {question.minutes:g}; give more (what was "
                    "begun goes on) or name fewer with --learners",
                    *told,
                    *(f"{name}: {why}" for name, why in trials.left_out.items()),
                ]
            )
        )
    rows, winner, best = ranked(standings, plan)
    return Choice(
        question=question,
        rows=rows,
        winner=winner,
        best=best,
        left_out=trials.left_out,
        pictures=trials.num_pictures,
        seconds=clock() - start,
        complete=not any(standing.stopped for standing in standings),
    )
