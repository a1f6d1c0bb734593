"""What became of every expression of one test set, packed; its metrics follow from it, or else.

Everything that a report shows is counted again from what is kept of every expression: its picture,
its kind, at which place the first good box stands, and how well the generated mask covers the true
one. Tens of thousands of expressions take less than 100 kB.

Legend: N expression of the test set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import fmean

from pydantic import Field, model_validator

from diffuprompt.record_fields import (
    SLACK,
    Amount,
    Fields,
    Line,
    Metrics,
    Name,
    Positive,
    pack_numbers,
    unpack_numbers,
)

DEPTHS = (1, 5, 10)  # K of R@K
RANKS = 255  # places that a rank may have, from 0; there is room for one more value: no hit
STEPS = 200  # a mask's IoU is kept in half per cents
MOST_EXPRESSIONS = 10_000_000


class ExpressionScores(Fields):
    """What became of every expression of one test set, in its order; make one with `of`.

    Attributes:
        test: name of the test set: the job's own data set, or e.g. "scenes/held-out looks".
        content: hash of its pictures, expressions and boxes.
        total: N.
        kinds: names that ``kind`` counts through; ("",) for a set without kinds.
        picture: packed differences (modulo 2^32, which keeps them small) of the pictures' numbers,
            from 0 in the order of their first expressions.
        kind: packed numbers into ``kinds``.
        rank: packed places of the first box with an IoU of 0.5 or more, from 0; -1 for none.
        giou_rank: the same under the generalised IoU, as Diff-Prompt's evaluator counts.
        mask_iou: packed IoU of the generated mask with the true one; None without masks.
        metrics: "r1", "r5", "r10", "ub" and the same led by "giou_", and "mask_iou": per cent.
        timings: "generate_ms" and "detect_ms", wall milliseconds per picture, in batches.
    """

    test: Name
    content: Name
    total: Positive = Field(le=MOST_EXPRESSIONS)
    kinds: tuple[Line, ...] = Field(min_length=1, max_length=200)
    picture: str
    kind: str
    rank: str
    giou_rank: str
    mask_iou: str | None = None
    metrics: Metrics
    timings: dict[Name, Amount] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        test: str,
        content: str,
        pictures: Sequence[str],
        kinds: Sequence[str],
        ranks: Sequence[int],
        giou_ranks: Sequence[int],
        mask_ious: Sequence[float] | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> ExpressionScores:
        """Return the scores of a test set from what was found for each expression.

        Args:
            test: name of the test set.
            content: its hash.
            pictures: what identifies each expression's picture.
            kinds: each expression's kind; "" for none.
            ranks: place of the first good box, from 0; -1 for none.
            giou_ranks: the same under the generalised IoU.
            mask_ious: 0..1; kept in half per cents.
            timings: milliseconds per picture.

        Raises:
            ValueError: no expression, sequences of different lengths, or values out of range.
        """
        if not ranks:
            raise ValueError(f"test set {test}: expected at least one expression")
        numbers = {name: i for i, name in enumerate(dict.fromkeys(pictures))}
        names = sorted(set(kinds))
        steps = None if mask_ious is None else [round(STEPS * iou) for iou in mask_ious]
        return cls(
            test=test,
            content=content,
            total=len(ranks),
            kinds=tuple(names),
            picture=pack_numbers(_steps([numbers[name] for name in pictures]), width=4),
            kind=pack_numbers([names.index(name) for name in kinds]),
            rank=pack_numbers([_kept(rank) for rank in ranks]),
            giou_rank=pack_numbers([_kept(rank) for rank in giou_ranks]),
            mask_iou=None if steps is None else pack_numbers(steps),
            metrics=_metrics(ranks, giou_ranks, steps),
            timings=dict(timings or {}),
        )

    def pictures(self) -> list[int]:
        """Return the number of each expression's picture."""
        steps = unpack_numbers(self.picture, self.total, width=4)
        return [number % 2**32 for number in accumulate(steps)]

    def kind_names(self) -> list[str]:
        """Return each expression's kind."""
        return [self.kinds[i] for i in unpack_numbers(self.kind, self.total)]

    def ranks(self) -> list[int]:
        """Return the place of each expression's first good box, from 0; -1 for none."""
        return [_shown(rank) for rank in unpack_numbers(self.rank, self.total)]

    def giou_ranks(self) -> list[int]:
        """Return what `ranks` does, under the generalised IoU."""
        return [_shown(rank) for rank in unpack_numbers(self.giou_rank, self.total)]

    def mask_ious(self) -> list[float] | None:
        """Return the IoU of each generated mask in 0..1; None without masks."""
        if self.mask_iou is None:
            return None
        return [step / STEPS for step in unpack_numbers(self.mask_iou, self.total)]

    @model_validator(mode="after")
    def _check(self) -> ExpressionScores:
        pictures, ranks, giou_ranks = self.pictures(), self.ranks(), self.giou_ranks()
        kinds = unpack_numbers(self.kind, self.total)
        steps = None if self.mask_iou is None else unpack_numbers(self.mask_iou, self.total)
        problems = []
        if list(dict.fromkeys(pictures)) != list(range(len(set(pictures)))):
            problems.append("picture: expected numbers from 0 in the order of first expressions")
        used, names = set(kinds), set(self.kinds)
        if used != set(range(len(self.kinds))) or len(names) < len(self.kinds):
            problems.append(f"kind: expected all of the {len(self.kinds)} kinds, each once")
        if any(_place(giou) < _place(rank) for giou, rank in zip(giou_ranks, ranks, strict=True)):
            problems.append(
                "giou_rank: expected no good box before that of rank, since the generalised IoU "
                "is never above the IoU"
            )
        if steps is not None and max(steps) > STEPS:
            problems.append(f"mask_iou: expected 0 to {STEPS} half per cents, got {max(steps)}")
        else:
            problems += _disagreements(self.metrics, _metrics(ranks, giou_ranks, steps))
        if problems:
            raise ValueError("; ".join(f"test set {self.test}: {problem}" for problem in problems))
        return self


def recalls(ranks: Sequence[int]) -> dict[str, float]:
    """Return "r1", "r5", "r10" and "ub", the shares in per cent of ranks in 0..K-1 and of all hits.

    Args:
        ranks: place of each expression's first good box, from 0; -1 for none.
    """
    hits = [rank for rank in ranks if rank >= 0]
    found = {f"r{k}": sum(rank < k for rank in hits) for k in DEPTHS} | {"ub": len(hits)}
    return {name: 100 * count / len(ranks) for name, count in found.items()}


def _metrics(
    ranks: Sequence[int], giou_ranks: Sequence[int], steps: Sequence[int] | None
) -> dict[str, float]:
    giou = {f"giou_{name}": value for name, value in recalls(giou_ranks).items()}
    masks = {} if steps is None else {"mask_iou": 100 * fmean(steps) / STEPS}
    return {**recalls(ranks), **giou, **masks}


def _disagreements(said: Mapping[str, float], counted: Mapping[str, float]) -> Iterator[str]:
    for name in sorted(said.keys() | counted.keys()):
        if name not in said or name not in counted:
            wrong = "is missing" if name in counted else "is not known"
            yield f"metrics: {name} {wrong}; expected {', '.join(counted)}"
        elif abs(said[name] - counted[name]) > SLACK:
            yield f"metrics: {name} is {said[name]}, its expressions say {counted[name]:.4f}"


def _kept(rank: int) -> int:
    if not -1 <= rank < RANKS:
        raise ValueError(f"rank: expected -1 for no hit or 0 to {RANKS - 1}, got {rank}")
    return _place(rank)


def _shown(kept: int) -> int:
    return kept if kept < RANKS else -1


def _place(rank: int) -> int:
    return rank if rank >= 0 else RANKS


def _steps(numbers: Sequence[int]) -> list[int]:
    return [(after - before) % 2**32 for before, after in pairwise([0, *numbers])]
