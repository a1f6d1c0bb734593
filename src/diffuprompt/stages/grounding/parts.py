"""Work on many rows, batch by batch, that an interruption does not lose.

Legend: N all rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.engine import Progress
from diffuprompt.runs import read_sealed, write_sealed

Columns = dict[str, Tensor]  # each ``(N, ...)``
ROWS = "rows"


def in_parts(
    compute: Callable[[list[int]], Columns],
    total: int,
    *,
    batch: int,
    folder: Path,
    progress: Progress,
    label: str,
    save_every_s: float,
) -> Columns:
    """Return what ``compute`` makes of rows 0 to ``total``, put together.

    Args:
        compute: returns columns for some consecutive rows, and depends on nothing but them.
        total: how many rows there are.
        batch: rows at a time; the same in every process that works on it.
        folder: where finished rows wait for the others.
        progress: shows how far it is.
        label: what is computed, for people.
        save_every_s: seconds of work that a kill may cost.
    """
    found, start = _found(folder)
    waiting: list[Columns] = []
    saved = time.monotonic()
    name = f"{label} (from {start})" if start else label
    with progress.task(name, total=total - start) as shown:
        for first in range(start, total, batch):
            rows = list(range(first, min(first + batch, total)))
            waiting.append(compute(rows))
            shown.advance(len(rows))
            if time.monotonic() - saved >= save_every_s and rows[-1] + 1 < total:
                part, end = _joined(waiting), rows[-1] + 1
                write_sealed(_path(folder, start), part, {ROWS: str(end - start)})
                found.append(part)
                waiting, start, saved = [], end, time.monotonic()
    return _joined([*found, *waiting])


def _found(folder: Path) -> tuple[list[Columns], int]:
    """Return the parts that are there from row 0 on without a gap, and where they end."""
    parts: list[Columns] = []
    start = 0
    while (read := read_sealed(_path(folder, start))) is not None:
        parts.append(read[0])
        start += int(read[1][ROWS])
    return parts, start


def _path(folder: Path, start: int) -> Path:
    return folder / f"{start:09}.safetensors"


def _joined(parts: list[Columns]) -> Columns:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
