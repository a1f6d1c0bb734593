"""The seam: what may be generated (`PromptSpec`) and the values that flow through it (`Prompts`).

Legend: B image, C class, L prompt token, D width, F flat.

One batch rule everywhere: vision slots are ``(B|1, L, D)``, text slots ``(B|1, C|1, L, D)``, and
a size of 1 is broadcast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from diffuprompt.errors import PromptShapeError

Tower = Literal["text", "vision"]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place that takes prompt tokens: ``length`` vectors of ``width`` entering ``layer``.

    ``classes`` is above 1 only for class-specific contexts (CoOp CSC), whose spec belongs to one
    class list.
    """

    name: str
    tower: Tower
    layer: int
    length: int
    width: int
    classes: int = 1

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return self.classes * self.length * self.width

    def shape(self, batch: int) -> tuple[int, ...]:
        """Shape of this slot's tensor for ``batch`` images."""
        tail = (self.length, self.width)
        return (batch, self.classes, *tail) if self.tower == "text" else (batch, *tail)


class Prompts(Mapping[str, Tensor]):
    """Source prompts: slot name -> tensor, text ``(B|1, C|1, L, D)``, vision ``(B|1, L, D)``."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def batch(self) -> int:
        """Largest leading size: 1 when the prompts are shared by all images."""
        return max((t.shape[0] for t in self._tensors.values()), default=1)

    def select(self, index: Tensor | slice) -> Prompts:
        """Return the prompts of some images; shared slots stay shared."""
        return Prompts({k: t if t.shape[0] == 1 else t[index] for k, t in self._tensors.items()})

    def detach(self) -> Prompts:
        """Return the same prompts cut off from the graph."""
        return Prompts({k: t.detach() for k, t in self._tensors.items()})

    def to(self, *args: Any, **kwargs: Any) -> Prompts:
        """Apply ``Tensor.to`` to every slot."""
        return Prompts({k: t.to(*args, **kwargs) for k, t in self._tensors.items()})


@dataclass(frozen=True)
class TowerPrompts:
    """What each tower consumes: layer -> tokens, text ``(B|1, C|1, L, D)``, vision ``(B|1, L, D)``.

    Layer 0 enters with the input sequence; layers above 0 *replace* the states of the same tokens.
    """

    text: Mapping[int, Tensor] = field(default_factory=dict)
    vision: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptSpec:
    """An ordered tuple of slots; ``pack`` and ``unpack`` map to one flat vector ``(B, F)``."""

    slots: tuple[Slot, ...] = ()

    def __post_init__(self) -> None:
        names = [slot.name for slot in self.slots]
        if len(set(names)) != len(names):
            raise PromptShapeError(f"slot names must be unique, got {names}")

    @property
    def size(self) -> int:
        """F, the number of free coordinates."""
        return sum(slot.size for slot in self.slots)

    @property
    def has_vision(self) -> bool:
        """Whether any slot enters the image tower."""
        return any(slot.tower == "vision" for slot in self.slots)

    def check(self, prompts: Mapping[str, Tensor]) -> None:
        """Raise `PromptShapeError` unless ``prompts`` has exactly these slots and shapes."""
        problems = [f"unknown slot {k!r}" for k in prompts if k not in {s.name for s in self.slots}]
        for slot in self.slots:
            if slot.name not in prompts:
                problems.append(f"slot {slot.name!r} is missing")
                continue
            got, want = tuple(prompts[slot.name].shape), slot.shape(-1)
            if len(got) != len(want) or got[1:] != want[1:]:
                shown = str(want).replace("-1", "B|1")
                problems.append(f"slot {slot.name!r}: expected {shown}, got {got}")
        batches = {t.shape[0] for t in prompts.values()} - {1}
        if len(batches) > 1:
            problems.append(f"slots disagree on the number of images: {sorted(batches)}")
        if problems:
            raise PromptShapeError("; ".join(problems))

    def pack(self, prompts: Prompts) -> Tensor:
        """Flatten ``prompts`` to ``(B, F)``; shared slots are repeated for every image."""
        self.check(prompts)
        if not self.slots:
            return torch.zeros(prompts.batch, 0)
        flat = [prompts[s.name].flatten(1).expand(prompts.batch, -1) for s in self.slots]
        return torch.cat(flat, dim=1)

    def unpack(self, flat_BF: Tensor) -> Prompts:
        """Inverse of `pack`: ``(B, F)`` to one tensor per slot."""
        if flat_BF.ndim != 2 or flat_BF.shape[1] != self.size:
            raise PromptShapeError(f"expected (B, {self.size}), got {tuple(flat_BF.shape)}")
        parts = flat_BF.split([s.size for s in self.slots], dim=1)
        batch = flat_BF.shape[0]
        pairs = zip(self.slots, parts, strict=True)
        return Prompts({s.name: p.reshape(s.shape(batch)) for s, p in pairs})

    def to_json(self) -> list[dict[str, Any]]:
        """Return a JSON-serialisable description."""
        return [asdict(slot) for slot in self.slots]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> PromptSpec:
        """Inverse of `to_json`."""
        return cls(tuple(Slot(**row) for row in data))

    @property
    def hash(self) -> str:
        """Sixteen hex digits that checkpoints carry; equal iff the slots are equal, in order."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
