"""From class names to token ids with places for prompt vectors.

Legend: C class (or sentence), S context length, M prompt tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from diffuprompt.clip.packing import SPREAD, Packing
from diffuprompt.errors import ConfigError, DataError

Position = Literal["end", "middle", "front"]


class Encoder(Protocol):
    """What is needed of a tokenizer here."""

    sot: int
    eot: int
    pad: int

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return token ids without special tokens."""
        ...

    def vocabulary(self) -> dict[str, int]:
        """Return every token with its id."""
        ...

    def to_bytes(self) -> bytes:
        """Return the content of a ``tokenizer.json``."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class PromptedTokens:
    """Token ids ``(C, S)``, end-of-text positions ``(C,)`` and prompt positions ``(C, M)``.

    Prompt vectors replace the embeddings at ``slots``; M is 0 for plain sentences. ``host`` is the
    same on the CPU, where lengths and layouts are worked out, so that no pass waits for a device;
    None here means that this is it.
    """

    ids: Tensor
    eot: Tensor
    slots: Tensor
    host: PromptedTokens | None = field(default=None, repr=False)

    @torch.inference_mode(mode=False)
    def __post_init__(self) -> None:
        if self.host is None and self.ids.device.type != "cpu":
            here = PromptedTokens(ids=self.ids.cpu(), eot=self.eot.cpu(), slots=self.slots.cpu())
            object.__setattr__(self, "host", here)  # as a frozen dataclass sets its fields

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def num_ctx(self) -> int:
        """M, the number of prompt tokens."""
        return self.slots.shape[1]

    @cached_property
    def packing(self) -> Packing | None:
        """How classes share a prefix, or None when prompts do not stand in one (computed once)."""
        here = self.host or self
        spread = SPREAD if self.host is not None else 1.0
        laid_out = Packing.of(here.ids, here.eot, here.slots, spread=spread)
        return laid_out.to(self.ids.device) if laid_out is not None else None

    @cached_property
    def longest(self) -> int:
        """Tokens up to the last end-of-text of all."""
        return int((self.host or self).eot.max()) + 1

    @cached_property
    def truncated(self) -> PromptedTokens:
        """The same cut behind the last end-of-text of all."""
        host = self.host.truncated if self.host is not None else None
        ids = self.ids[:, : self.longest]
        return PromptedTokens(ids=ids, eot=self.eot, slots=self.slots, host=host)

    @cached_property
    @torch.inference_mode(mode=False)  # remembered tensors must also serve later backward passes
    def groups(self) -> tuple[Group, ...]:
        """The texts by length, short ones first: what is computed together without padding."""
        eot, found = (self.host or self).eot, []
        for end in torch.unique(eot).tolist():
            rows = torch.nonzero(eot == end)[:, 0]
            found.append(Group(end, rows.to(self.ids.device), self.select(rows)))
        return tuple(found)

    @cached_property
    @torch.inference_mode(mode=False)
    def ungrouped(self) -> Tensor:
        """Positions ``(C,)`` that put the texts of `groups`, one behind the other, in order."""
        order = torch.argsort((self.host or self).eot, stable=True)
        return torch.argsort(order).to(self.ids.device)

    @cached_property
    @torch.inference_mode(mode=False)
    def rows(self) -> Tensor:
        """Numbers ``(C, 1)`` of the texts, to index with `slots`."""
        return torch.arange(len(self), device=self.ids.device)[:, None]

    @cached_property
    def _splits(self) -> dict[int, tuple[PromptedTokens, ...]]:
        return {}

    def split(self, size: int) -> tuple[PromptedTokens, ...]:
        """Return consecutive parts of at most ``size`` texts; remembered with their packing."""
        if size >= len(self):
            return (self,)
        if size not in self._splits:
            starts, index = range(0, len(self), size), torch.arange(len(self))
            self._splits[size] = tuple(self.select(index[i : i + size]) for i in starts)
        return self._splits[size]

    @torch.inference_mode(mode=False)  # remembered tensors must also serve later backward passes
    def select(self, index: Tensor) -> PromptedTokens:
        """Return the rows ``index``, best given on the host."""
        host = self.host.select(index.cpu()) if self.host is not None else None
        there = index.to(self.ids.device)
        ids, eot, slots = (t[there] for t in (self.ids, self.eot, self.slots))
        return PromptedTokens(ids=ids, eot=eot, slots=slots, host=host)

    @torch.inference_mode(mode=False)
    def to(self, device: torch.device | str) -> PromptedTokens:
        """Move all tensors."""
        here = self.host or self
        if torch.device(device).type == "cpu":
            return here
        ids, eot, slots = (t.to(device) for t in (here.ids, here.eot, here.slots))
        return PromptedTokens(ids=ids, eot=eot, slots=slots, host=here)


class Group(NamedTuple):
    """Texts that all end at ``end``: their places ``(G,)`` among all, and their tokens."""

    end: int
    rows: Tensor
    tokens: PromptedTokens


def class_tokens(
    tokenizer: Encoder,
    names: Sequence[str],
    *,
    prefix: str | None,
    num_ctx: int,
    position: Position = "end",
    context_length: int = 77,
) -> PromptedTokens:
    """Tokenise ``[SOT, v1..vM, name, ".", EOT]`` for every class (CoOp, Zhou et al. 2022).

    Args:
        tokenizer: gives ids of text pieces.
        names: class names; "_" counts as a space.
        prefix: initial words, e.g. "a photo of a"; its first ``num_ctx`` tokens become prompts and
            the rest stays as fixed words before the name (MaPLe with two tokens). None: ``num_ctx``
            placeholders.
        num_ctx: M.
        position: where the prompts stand. "middle": half of them after the name, before the full
            stop; "front": the name comes first. Needs a prefix of exactly M tokens or none.
        context_length: S.

    Raises:
        DataError: a name is empty or does not fit into the context.
        ConfigError: the prefix has fewer tokens than ``num_ctx``.
    """
    words = tokenizer.encode(prefix) if prefix else []
    if prefix is not None and len(words) < num_ctx:
        raise ConfigError(
            f"initial words {prefix!r} have {len(words)} tokens, fewer than {num_ctx}"
        )
    fixed = words[num_ctx:]
    if fixed and position != "end":
        raise ConfigError(f"position {position!r} needs initial words of exactly {num_ctx} tokens")
    ctx = words[:num_ctx] if prefix is not None else [tokenizer.pad] * num_ctx
    rows, slots = [], []
    for raw in names:
        name = tokenizer.encode(raw.replace("_", " "))
        if not name:
            raise DataError(f"class name {raw!r} has no tokens; give it a name in words")
        full = tokenizer.encode(raw.replace("_", " ") + ".")
        ahead = {"end": num_ctx, "middle": num_ctx // 2, "front": 0}[position]
        body = ctx[:ahead] + fixed + full[: len(name)] + ctx[ahead:] + full[len(name) :]
        start = 1 + ahead + len(name)
        rows.append(body)
        slots.append([*range(1, 1 + ahead), *range(start, start + num_ctx - ahead)])
    return _assemble(tokenizer, rows, slots, list(names), num_ctx, context_length)


def sentence_tokens(
    tokenizer: Encoder, texts: Sequence[str], context_length: int = 77, *, truncate: bool = False
) -> PromptedTokens:
    """Tokenise plain sentences; raises `DataError` for one that does not fit, or cuts it off."""
    rows = [tokenizer.encode(text) for text in texts]
    if truncate:
        rows = [row[: context_length - 2] for row in rows]
    return _assemble(tokenizer, rows, [[] for _ in rows], list(texts), 0, context_length)


@torch.inference_mode(mode=False)
def _assemble(
    tokenizer: Encoder,
    rows: list[list[int]],
    slots: list[list[int]],
    labels: list[str],
    num_ctx: int,
    context_length: int,
) -> PromptedTokens:
    if not rows:
        raise DataError("the class list is empty; give at least one class name")
    long = [label for label, row in zip(labels, rows, strict=True) if len(row) + 2 > context_length]
    if long:
        raise DataError(
            f"{len(long)} text(s) with {num_ctx} prompt tokens do not fit into {context_length} "
            f"tokens, the first is {long[0]!r}; shorten them or use fewer prompt tokens"
        )
    ids = torch.full((len(rows), context_length), tokenizer.pad, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row) + 2] = torch.tensor([tokenizer.sot, *row, tokenizer.eot])
    eot = torch.tensor([len(row) + 1 for row in rows])
    places = torch.tensor(slots, dtype=torch.long).reshape(len(rows), num_ctx)
    return PromptedTokens(ids=ids, eot=eot, slots=places)
