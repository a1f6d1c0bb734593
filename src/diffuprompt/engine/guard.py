"""A guard against numbers that are not finite, which on an accelerator does not wait for them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.errors import TrainingError

MIN_GAP_S = 0.1  # between two readings that make the host wait
MOST = 256  # records that are kept before they are read in any case


@dataclass(frozen=True)
class Record:
    """Scalars of one step by name, numbers where they were read; ``kind`` goes before names."""

    epoch: int
    step: int
    kind: str
    values: Mapping[str, Tensor | float]


class Guard:
    """Takes scalars of every step and refuses any that is not finite.

    Scalars on the host are read when they are taken. To read one from an accelerator makes the host
    wait until all work before it is done, so those are kept, and read together by `read`: when a
    number is to be shown, and before anything that they may have spoiled is saved.
    """

    def __init__(self) -> None:
        self._kept: list[Record] = []
        self._waits = False
        self._read_at = time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether to read now: it costs nothing, or it is time, or much is kept."""
        late = time.monotonic() - self._read_at >= MIN_GAP_S
        return not self._waits or late or len(self._kept) >= MOST

    def take(self, kind: str, values: Mapping[str, Tensor], epoch: int, step: int) -> None:
        """Take the scalars of a step; `TrainingError` for one on the host that is not finite."""
        plain = {name: value.detach() for name, value in values.items()}
        if any(value.device.type != "cpu" for value in plain.values()):
            self._kept.append(Record(epoch, step, kind, plain))
            self._waits = True
            return
        here = Record(epoch, step, kind, {name: float(value) for name, value in plain.items()})
        _refuse(here, "nothing was updated by this step")
        self._kept.append(here)

    def read(self) -> list[Record]:
        """Return all that was taken since the last reading, as numbers, and forget it.

        Raises `TrainingError` naming the first step with a number that is not finite.
        """
        kept, self._kept = self._kept, []
        if self._waits:
            kept = _numbers(kept)
            for record in kept:
                _refuse(record, "it was updated by this step, and is not saved")
        self._waits, self._read_at = False, time.monotonic()
        return kept


def _numbers(records: list[Record]) -> list[Record]:
    """Read all scalars of an accelerator with one copy."""
    flat = [value for record in records for value in record.values.values()]
    far = [v.float().reshape(()) for v in flat if isinstance(v, Tensor) and v.device.type != "cpu"]
    there = iter(torch.stack(far).cpu().tolist())

    def number(value: Tensor | float) -> float:
        if isinstance(value, Tensor) and value.device.type != "cpu":
            return next(there)
        return float(value)

    return [
        Record(r.epoch, r.step, r.kind, {name: number(value) for name, value in r.values.items()})
        for r in records
    ]


def _refuse(record: Record, then: str) -> None:
    values = record.values.items()
    bad = [f"{record.kind} {name!r} is {v}" for name, v in values if not math.isfinite(v)]
    if bad:
        raise TrainingError(
            f"epoch {record.epoch}, step {record.step} (from 0): {'; '.join(bad)}, expected finite "
            f"numbers; {then}. Try a lower learning rate or clip_norm."
        )
