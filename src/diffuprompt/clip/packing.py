"""The layout of the fast text path: one shared prefix, then every class's suffix.

On a CPU suffixes are not padded. On an accelerator, where many small products take longer than a
few more tokens, suffixes of similar length are padded to the longest of them, behind their
end-of-text: nothing before it sees what follows, so features stay exact.

Legend: C class, S context length, M prompt tokens, P prefix, T all suffix tokens together.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SPREAD = 3.0  # on accelerators the shortest suffix of a bucket is at least a third of the longest


@dataclass(frozen=True)
class Bucket:
    """``count`` classes with suffixes of ``length`` tokens, from ``start`` of the packing on.

    ``padded`` says that some of them end earlier.
    """

    length: int
    count: int
    start: int
    padded: bool = False

    @property
    def stop(self) -> int:
        """End of the bucket's tokens."""
        return self.start + self.length * self.count


@dataclass(frozen=True, eq=False)
class Packing:
    """Ids of the prefix ``(P,)`` and of all suffixes ``(T,)`` in order of length.

    ``positions`` ``(T,)`` are the suffix tokens' places in the text; ``padding`` ``(T,)`` is true
    behind an end-of-text; ``ends`` ``(C,)`` the end-of-text tokens' places in the packing;
    ``restore`` ``(C,)`` undoes the sorting.
    """

    prefix_ids: Tensor
    num_ctx: int
    suffix_ids: Tensor
    positions: Tensor
    padding: Tensor
    ends: Tensor
    restore: Tensor
    buckets: tuple[Bucket, ...]

    @property
    def num_tokens(self) -> int:
        """P + T, the tokens that pass the tower for one image."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    @torch.inference_mode(mode=False)
    def to(self, device: torch.device) -> Packing:
        """Move all tensors."""
        return replace(
            self,
            prefix_ids=self.prefix_ids.to(device),
            suffix_ids=self.suffix_ids.to(device),
            positions=self.positions.to(device),
            padding=self.padding.to(device),
            ends=self.ends.to(device),
            restore=self.restore.to(device),
        )

    @classmethod
    @torch.inference_mode(mode=False)  # remembered, so it must also serve later backward passes
    def of(
        cls, ids_CS: Tensor, eot_C: Tensor, slots_CM: Tensor, *, spread: float = 1.0
    ) -> Packing | None:
        """Lay out tokens of the host; None unless all prompts stand at positions 1..M of each.

        ``spread`` is the ratio of lengths that are padded to one; at 1 there is no padding.
        """
        num_ctx, ids, eot = slots_CM.shape[1], ids_CS, eot_C
        if num_ctx and not (slots_CM == torch.arange(1, 1 + num_ctx)).all():
            return None
        prefix = _common_prefix(ids, 1 + num_ctx, int(eot.min()))
        lengths = eot + 1 - prefix
        order = torch.argsort(lengths, stable=True)
        buckets = _buckets(lengths[order].tolist(), spread)
        room = torch.tensor([bucket.length for bucket in buckets for _ in range(bucket.count)])
        places = torch.cat([torch.arange(n) for n in room.tolist()])
        owners = order.repeat_interleave(room)
        positions = (prefix + places).clamp(max=ids.shape[1] - 1)
        return cls(
            prefix_ids=ids[0, :prefix],
            num_ctx=num_ctx,
            suffix_ids=ids[owners, positions],
            positions=positions,
            padding=places >= lengths[owners],
            ends=room.cumsum(0) - room + lengths[order] - 1,
            restore=torch.argsort(order),
            buckets=tuple(buckets),
        )


def _buckets(lengths: list[int], spread: float) -> list[Bucket]:
    """Cut rising lengths into buckets, the longest first served."""
    buckets: list[Bucket] = []
    left = list(lengths)
    while left:
        longest = left[-1]
        count = len(left) - bisect_left(left, longest / spread)
        buckets.insert(0, Bucket(longest, count, 0, padded=left[-count] < longest))
        del left[-count:]
    start = 0
    for i, bucket in enumerate(buckets):
        buckets[i] = replace(bucket, start=start)
        start = buckets[i].stop
    return buckets


def _common_prefix(ids: Tensor, at_least: int, at_most: int) -> int:
    """Length of the longest prefix that all rows share; what stands in prompts' places is free.

    At least one token (end-of-text) stays in every suffix.
    """
    same = (ids == ids[:1]).all(0)
    same[:at_least] = True
    first_difference = int(torch.argmin(same.to(torch.uint8))) if not same.all() else len(same)
    return min(first_difference, at_most)
