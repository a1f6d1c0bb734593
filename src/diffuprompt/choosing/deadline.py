"""A progress that stops whatever reports to it when its time is up.

Everything that takes long reports its progress, so that nothing else has to know of a budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from diffuprompt.engine import Progress, Tally


class TimeIsUp(Exception):
    """What ran has no time left; what it has saved is there for the next call."""


@dataclass
class Ended:
    """How a block ended."""

    stopped: bool = False


class Deadline:
    """Shows work as ``progress`` does; inside of `at` it stops what reports to it."""

    def __init__(self, progress: Progress, clock: Callable[[], float]) -> None:
        self._progress, self._clock = progress, clock
        self._until = math.inf

    @contextmanager
    def at(self, until: float) -> Iterator[Ended]:
        """Leave the block from ``until`` on, at the next step that is reported."""
        self._until, ended = until, Ended()
        try:
            yield ended
        except TimeIsUp:
            ended.stopped = True
        finally:
            self._until = math.inf

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[_Watched]:
        """Open a piece of work, unless the time is up already."""
        self.check()
        with self._progress.task(label, total=total) as tally:
            yield _Watched(self, tally, total)

    def check(self) -> None:
        """Raise `TimeIsUp` when it is."""
        if self._clock() >= self._until:
            raise TimeIsUp


class _Watched:
    def __init__(self, deadline: Deadline, tally: Tally, total: int) -> None:
        self._deadline, self._tally, self._left = deadline, tally, total

    def advance(self, n: int = 1, **stats: float) -> None:
        """Count, and stop where there is no time left; what is complete may be kept."""
        self._tally.advance(n, **stats)
        self._left -= n
        if self._left > 0:
            self._deadline.check()
