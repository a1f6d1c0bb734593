"""``metrics.jsonl``: one JSON line per step; interruptions leave no gaps and no doubles."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Self

from diffuprompt.engine.files import write_text
from diffuprompt.errors import CheckpointError, writing
from diffuprompt.reading import parse_json, read_text

MIN_GAP_S = 0.1  # between two lines


class MetricsFile:
    """Appends lines with ``at``, the step counted over all epochs; ``path`` None writes nothing.

    Opening cuts off every line with ``at >= keep`` and a last line that was only half written.
    At most about 10 lines per second are written; the skipped ones are lost on purpose.
    """

    def __init__(self, path: Path | None, *, keep: int) -> None:
        self._last = -float("inf")
        self._file = None
        self._path = path
        if path is not None:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _cut(path, keep)
                self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None and self._path is not None:
            with writing(self._path):
                self._file.close()

    def write(self, at: int, **values: float) -> None:
        """Append one line, unless the last one is too recent."""
        now = time.monotonic()
        if self._file is not None and self._path and now - self._last >= MIN_GAP_S:
            self._last = now
            with writing(self._path):
                self._file.write(json.dumps({"at": at, **values}) + "\n")

    def flush(self) -> None:
        """Hand the lines to the system, so that a state saved after this is not ahead of them."""
        if self._file is not None and self._path is not None:
            with writing(self._path):
                self._file.flush()


def _cut(path: Path, keep: int) -> None:
    if not path.exists():
        return
    text = read_text(path)
    kept = []
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") or _at(path, line) >= keep:
            break
        kept.append(line)
    if "".join(kept) != text:
        write_text(path, "".join(kept))


def _at(path: Path, line: str) -> int:
    try:
        return int(parse_json(line, path)["at"])
    except (ValueError, KeyError, TypeError, OverflowError, CheckpointError) as cause:
        raise CheckpointError(f"{path}: not a line of metrics: {line[:60]!r}; delete it") from cause
