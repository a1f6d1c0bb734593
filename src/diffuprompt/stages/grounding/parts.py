"""Work on many rows, batch by batch, that an interruption does not lose.

Legend: N all rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.engine import Progress, read_tensors, write_tensors

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
    found = [read_tensors(path)[0] for path in sorted(folder.glob("*.safetensors"))]
    start = sum(int(part.pop(ROWS)) for part in found)
    waiting: list[Columns] = []
    saved = time.monotonic()
    name = f"{label} (from {start})" if start else label
    with progress.task(name, total=total - start) as shown:
        for first in range(start, total, batch):
            rows = list(range(first, min(first + batch, total)))
            waiting.append(compute(rows))
            shown.advance(len(rows))
            if time.monotonic() - saved >= save_every_s and rows[-1] + 1 < total:
                part = _joined(waiting)
                count = torch.tensor(rows[-1] + 1 - start)
                path = folder / f"{start:09}.safetensors"
                write_tensors(path, {**part, ROWS: count}, {"format": "pt"})
                found.append(part)
                waiting, start, saved = [], rows[-1] + 1, time.monotonic()
    return _joined([*found, *waiting])


def _joined(parts: list[Columns]) -> Columns:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
