"""What a person sees: bars on a terminal, plain log lines elsewhere; results go to stdout.

Bars and log lines share one console on stderr, so that a log line never breaks a bar.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from diffuprompt.engine import LogProgress, Progress
from diffuprompt.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars, TaskID


@lru_cache(maxsize=1)
def stderr() -> Console:
    """Return the one console for bars and log lines."""
    return Console(stderr=True, highlight=False)


def console_progress(console: Console | None = None) -> Progress:
    """Return bars with speed and remaining time on a terminal, else a line every few seconds."""
    console = console or stderr()
    return BarProgress(console) if console.is_terminal else LogProgress()


def set_up_logging(level: int = logging.INFO) -> None:
    """Send the messages of ``diffuprompt`` to stderr, one plain line each; safe to call twice."""
    logger = logging.getLogger("diffuprompt")
    logger.setLevel(level)
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(_ConsoleHandler())
    logger.propagate = False


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        stderr().print(printable(level + self.format(record)), markup=False, soft_wrap=True)


class BarProgress:
    """One bar for each open task, nested tasks below their parents; finished bars stay visible."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._open = 0

    @contextmanager
    def task(self, label: str, *, total: int) -> Iterator[BarTask]:
        """Open a bar of ``total`` units, closed when the block ends."""
        bars = self._bars = self._bars or _bars(self._console)
        if self._open == 0:
            bars.start()
        self._open += 1
        bar = bars.add_task(escape(printable(label)), total=total, stats="")
        try:
            yield BarTask(bars, bar)
        finally:
            bars.stop_task(bar)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None


class BarTask:
    """The handle of one bar."""

    def __init__(self, bars: Bars, bar: TaskID) -> None:
        self._bars, self._bar = bars, bar
        self._stats: dict[str, float] = {}

    def advance(self, n: int = 1, **stats: float) -> None:
        """Move the bar by ``n`` units and show ``stats`` beside it, the last values winning."""
        self._stats.update(stats)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in self._stats.items())
        self._bars.update(self._bar, advance=n, stats=escape(shown))


def _bars(console: Console) -> Bars:
    from rich import progress as rich

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=None),
        rich.MofNCompleteColumn(),
        rich.TaskProgressColumn(),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
        rich.TextColumn("{task.fields[stats]}"),
        console=console,
        expand=True,
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out ``rows`` under ``header`` in aligned columns; columns of numbers go to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    numeric = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)

    def line(values: Sequence[str]) -> str:
        placed = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(placed).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def _is_numeric(column: Sequence[object]) -> bool:
    """Whether there are numbers, and besides them only gaps."""
    filled = [value for value in column if value is not None and value != ""]
    return bool(filled) and all(isinstance(value, int | float) for value in filled)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))
