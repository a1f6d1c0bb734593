"""How long work reports itself: the library calls `Tally.advance`, the caller chooses what is seen.

Use it as ``with progress.task("overfitting", total=320) as task: task.advance(32, ce=0.3)``.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self


class Tally(Protocol):
    """One piece of work with a known length."""

    def advance(self, n: int = 1, **stats: float) -> None:
        """Say that ``n`` more units are done; ``stats`` are shown beside them, the last wins."""


class Progress(Protocol):
    """Where work is shown: nowhere (`NULL`), as log lines (`LogProgress`), as bars (the CLI)."""

    def task(self, label: str, *, total: int) -> AbstractContextManager[Tally]:
        """Open a piece of work of ``total`` units, closed when the block ends."""


class _Silent:
    def task(self, label: str, *, total: int) -> Self:
        return self

    def advance(self, n: int = 1, **stats: float) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


NULL: Progress = _Silent()


RARE_S = 60.0


class LogProgress:
    """Plain lines through `logging`: at most one every ``every_s`` seconds, and one at the end.

    The longer a piece of work takes, the rarer they become, down to one a minute.
    """

    def __init__(self, logger: logging.Logger | None = None, *, every_s: float = 5.0) -> None:
        self._logger = logger or logging.getLogger("diffuprompt")
        self._every_s = every_s

    def task(self, label: str, *, total: int) -> _LoggedTask:
        """Open a piece of work of ``total`` units."""
        return _LoggedTask(self._logger, label, total, self._every_s)


class _LoggedTask:
    def __init__(self, logger: logging.Logger, label: str, total: int, every_s: float) -> None:
        self._logger, self._label, self._total, self._every_s = logger, label, total, every_s
        self._done = 0
        self._stats: dict[str, float] = {}
        self._start = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write("stopped at " if kind else "")

    def advance(self, n: int = 1, **stats: float) -> None:
        self._done += n
        self._stats.update(stats)
        now = time.monotonic()
        wait = max(self._every_s, min(RARE_S, (now - self._start) / 4))
        if now - self._shown >= wait and self._done < self._total:
            self._shown = now
            left = (now - self._start) / max(self._done, 1) * (self._total - self._done)
            self._write("", f", {format_seconds(left)} left")

    def _write(self, before: str, after: str | None = None) -> None:
        if after is None:
            after = f", took {format_seconds(time.monotonic() - self._start)}"
        stats = "".join(f", {name} {value:.4g}" for name, value in self._stats.items())
        self._logger.info(
            "%s: %s%d/%d%s%s", self._label, before, self._done, self._total, stats, after
        )


def format_seconds(seconds: float) -> str:
    """Show a duration as ``7.3 s``, ``4:09`` or ``1:02:33``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
