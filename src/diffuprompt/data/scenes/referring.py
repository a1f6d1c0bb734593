"""Referring expressions: phrases that fit exactly one object of a picture, proven by counting.

A `Query` has a meaning (`matches`) and a wording (`Query.text`). Queries are drawn at random and
kept only when they fit one object even under the loosest reading of "left of" or "largest", and
that object under a strict one, so that no border case is ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, Protocol

Relation = Literal["left of", "right of", "above", "below"]
Kind = Literal["plain", "extreme", "relation"]
Extreme = Literal["leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest"]
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below")
EXTREMES: tuple[Extreme, ...] = (
    "leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest",
)  # fmt: skip
KINDS: tuple[Kind, ...] = ("plain", "extreme", "relation")
_SIZE_WORDS = ("small", "medium", "large")
TRIES = 40  # queries of one kind about one object before another kind is tried
MARGIN = 0.06  # of the picture's side: how far "left of" must hold for the object meant


class Thing(Protocol):
    """An object of a picture as language sees it."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What can be said of it: "shape" (its noun), and perhaps "colour", "fill" and "size"."""

    @property
    def size(self) -> str:
        """Small, medium or large; the bands do not touch, so a difference is no close call."""

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of its box ``(x, y)``."""


class View(Protocol):
    """A square picture of things."""

    @property
    def objects(self) -> Sequence[Thing]:
        """All of them."""

    @property
    def side(self) -> int:
        """Pixels of a side."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Conditions on an object; None means any.

    ``extreme`` selects among the objects that satisfy the attributes; ``relation`` compares with
    the single object that ``anchor`` fits.
    """

    shape: str | None = None
    colour: str | None = None
    fill: str | None = None
    size: str | None = None
    extreme: Extreme | None = None
    relation: Relation | None = None
    anchor: Query | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """The conditions on what can be said of the object alone."""
        every = {"shape": self.shape, "colour": self.colour, "fill": self.fill, "size": self.size}
        return {name: value for name, value in every.items() if value is not None}

    @property
    def text(self) -> str:
        """The wording, without an article."""
        fill = self.fill
        words = (self.extreme, self.size, self.colour, fill, self.shape or "object")
        phrase = " ".join(w for w in words if w)
        if self.relation is None or self.anchor is None:
            return phrase
        link = f"to the {self.relation}" if "of" in self.relation else self.relation
        return f"{phrase} {link} the {self.anchor.text}"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A meaning and the index of the one object that it fits."""

    query: Query
    target: int

    @property
    def text(self) -> str:
        """The wording, with its article."""
        return f"the {self.query.text}"

    @property
    def root(self) -> tuple[int, int]:
        """First and last (exclusive) character of the phrase that names the object itself."""
        return 4, 4 + len(replace(self.query, relation=None, anchor=None).text)

    @property
    def kind(self) -> Kind:
        """How it tells the object from the others."""
        query = self.query
        return "relation" if query.relation else "extreme" if query.extreme else "plain"


def _key(item: Thing, direction: str) -> float:
    """A number that is largest for the most extreme object in ``direction``."""
    x, y = item.centre
    return {"left": -x, "right": x, "top": -y, "above": -y, "bottom": y, "below": y}[direction]


def _direction(word: str) -> str:
    return word.removesuffix("most").removesuffix(" of")


def _extreme(items: Sequence[Thing], found: list[int], word: Extreme, gap: float) -> list[int]:
    if word in ("largest", "smallest"):
        sign = 1 if word == "largest" else -1
        ranks = {i: float(sign * _SIZE_WORDS.index(items[i].size)) for i in found}
        gap = 0.5 if gap > 0 else 0.0
    else:
        ranks = {i: _key(items[i], _direction(word)) for i in found}
    if gap <= 0:  # loosely: nobody is further by more than the margin, ties included
        return [i for i in found if all(ranks[i] >= ranks[j] + gap for j in found)]
    return [i for i in found if all(j == i or ranks[i] >= ranks[j] + gap for j in found)]


def matches(picture: View, query: Query, *, strict: bool = False) -> tuple[int, ...]:
    """Return the indices of the objects that satisfy ``query``.

    Spatial words hold loosely by default (centres within the margin count as satisfying), with
    ``strict`` only when they hold by more than the margin. An anchor that does not fit exactly
    one object gives no match.
    """
    items = picture.objects
    margin = MARGIN * picture.side if strict else -MARGIN * picture.side
    wanted = query.attributes.items()
    found = [i for i, item in enumerate(items) if wanted <= item.attributes.items()]
    if query.relation is not None and query.anchor is not None:
        anchors = matches(picture, query.anchor, strict=strict)
        if len(anchors) != 1:
            return ()
        there, direction = anchors[0], _direction(query.relation)
        origin = _key(items[there], direction)
        found = [i for i in found if i != there and _key(items[i], direction) - origin >= margin]
    if query.extreme is not None and found:
        found = _extreme(items, found, query.extreme, margin)
    return tuple(found)


def refers_to(picture: View, query: Query) -> int | None:
    """Return the one object that ``query`` means, or None when it is ambiguous or empty."""
    loose = matches(picture, query)
    if len(loose) == 1 and matches(picture, query, strict=True) == loose:
        return loose[0]
    return None


def _some(item: Thing, rng: Random, least: int) -> Query:
    """Draw at least ``least`` of the attributes; nobody is told that something is medium."""
    known = [k for k, value in item.attributes.items() if (k, value) != ("size", "medium")]
    while True:
        said = {k: item.attributes[k] for k in known if rng.random() < 0.5}
        if len(said) >= least:
            return Query(
                shape=said.get("shape"),
                colour=said.get("colour"),
                fill=said.get("fill"),
                size=said.get("size"),
            )


def _guess(picture: View, target: int, kind: Kind, rng: Random) -> Query | None:
    """Draw a query of a kind that may mean the target, None where this draw cannot."""
    item = picture.objects[target]
    # where the noun is all that can be said of a thing, it is always said
    query = _some(item, rng, 1 if kind == "plain" or len(item.attributes) == 1 else 0)
    if kind == "plain":
        return query
    if kind == "extreme":
        extreme = rng.choice(EXTREMES)
        if query.size and extreme in ("largest", "smallest"):
            return None
        # "the leftmost ring" implies other rings
        return replace(query, extreme=extreme) if len(matches(picture, query)) > 1 else None
    other = rng.randrange(len(picture.objects))
    if other == target:
        return None
    anchor = _some(picture.objects[other], rng, 1)
    return replace(query, relation=rng.choice(RELATIONS), anchor=anchor)


def _about(picture: View, target: int, rng: Random) -> Reference | None:
    for kind in rng.sample(KINDS, len(KINDS)):
        for _ in range(TRIES):
            query = _guess(picture, target, kind, rng)
            if query is not None and refers_to(picture, query) == target:
                return Reference(query=query, target=target)
    return None


def references(
    picture: View, rng: Random, *, count: int = 1, targets: Sequence[int] | None = None
) -> list[Reference]:
    """Return up to ``count`` unique referring expressions about different objects.

    Plain attributes, extremes and relations are equally likely where they exist. An object about
    which none is found is passed over, for example one of two equal ones at nearly one place.

    Args:
        picture: with the objects.
        rng: all randomness comes from it.
        count: how many are wanted.
        targets: the objects that may be meant; None for all.
    """
    order = list(range(len(picture.objects)) if targets is None else targets)
    rng.shuffle(order)
    found: list[Reference] = []
    for target in order:
        if len(found) == count:
            break
        reference = _about(picture, target, rng)
        found += [] if reference is None else [reference]
    return found
