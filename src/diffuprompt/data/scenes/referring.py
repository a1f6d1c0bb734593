"""Referring expressions: phrases that fit exactly one object of a scene, proven by counting.

A `Query` has a meaning (`matches`) and a wording (`Query.text`). An expression is kept only when
its query fits one object even under the loosest reading of "left of" or "largest", and that
object under a strict one, so that no border case is ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Literal

from diffuprompt.data.scenes.world import Scene, SceneObject

Relation = Literal["left of", "right of", "above", "below"]
Extreme = Literal["leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest"]
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below")
EXTREMES: tuple[Extreme, ...] = (
    "leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest",
)  # fmt: skip
_SIZE_WORDS = ("small", "medium", "large")
MARGIN = 0.06  # of the picture's side: how far "left of" must hold for the object meant


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
class Expression:
    """A phrase, its meaning, and the index of the one object it fits."""

    text: str
    query: Query
    target: int


def _key(item: SceneObject, direction: str) -> float:
    """A number that is largest for the most extreme object in ``direction``."""
    x, y = item.centre
    return {"left": -x, "right": x, "top": -y, "above": -y, "bottom": y, "below": y}[direction]


def _direction(word: str) -> str:
    return word.removesuffix("most").removesuffix(" of")


def _extreme(items: list[SceneObject], found: list[int], word: Extreme, gap: float) -> list[int]:
    if word in ("largest", "smallest"):
        # Sizes are three separate bands, so a difference of one band is never a close call.
        sign = 1 if word == "largest" else -1
        ranks = {i: float(sign * _SIZE_WORDS.index(items[i].size)) for i in found}
        gap = 0.5 if gap > 0 else 0.0
    else:
        ranks = {i: _key(items[i], _direction(word)) for i in found}
    if gap <= 0:  # loosely: nobody is further by more than the margin, ties included
        return [i for i in found if all(ranks[i] >= ranks[j] + gap for j in found)]
    return [i for i in found if all(j == i or ranks[i] >= ranks[j] + gap for j in found)]


def matches(scene: Scene, query: Query, *, strict: bool = False) -> tuple[int, ...]:
    """Return the indices of the objects that satisfy ``query``.

    Spatial words hold loosely by default (centres within the margin count as satisfying), with
    ``strict`` only when they hold by more than the margin. An anchor that does not fit exactly
    one object gives no match.
    """
    items = list(scene.objects)
    side = scene.image.width
    margin = MARGIN * side if strict else -MARGIN * side
    wanted = {k: getattr(query, k) for k in ("shape", "colour", "fill", "size")}
    found = [
        i
        for i, item in enumerate(items)
        if all(value is None or getattr(item, k) == value for k, value in wanted.items())
    ]
    if query.relation is not None and query.anchor is not None:
        anchors = matches(scene, query.anchor, strict=strict)
        if len(anchors) != 1:
            return ()
        there, direction = anchors[0], _direction(query.relation)
        origin = _key(items[there], direction)
        found = [i for i in found if i != there and _key(items[i], direction) - origin >= margin]
    if query.extreme is not None and found:
        found = _extreme(items, found, query.extreme, margin)
    return tuple(found)


def refers_to(scene: Scene, query: Query) -> int | None:
    """The one object that ``query`` means, or None when it is ambiguous or empty."""
    loose = matches(scene, query)
    if len(loose) == 1 and matches(scene, query, strict=True) == loose:
        return loose[0]
    return None


def _attribute_queries(item: SceneObject) -> Iterator[Query]:
    """All ways of naming some of the attributes, shortest first."""
    names = ("shape", "colour", "fill", "size")
    for count in (1, 2, 3, 4):
        for chosen in combinations(names, count):
            if "size" in chosen and item.size == "medium":
                continue
            yield Query(**{k: getattr(item, k) for k in chosen})


def _candidates(scene: Scene, target: int, rng: Random) -> Iterator[Query]:
    item = scene.objects[target]
    plain = list(_attribute_queries(item))
    rng.shuffle(plain)
    anchors = []
    for k, other in enumerate(scene.objects):
        queries = [q for q in _attribute_queries(other) if k != target]
        rng.shuffle(queries)
        anchors += [next((q for q in queries if refers_to(scene, q) == k), None)]
    extremes: list[Extreme] = list(EXTREMES)
    relations: list[Relation] = list(RELATIONS)
    for query in [Query(), *plain]:
        fields = {k: getattr(query, k) for k in ("shape", "colour", "fill", "size")}
        if query != Query():
            yield query
        rng.shuffle(extremes)
        several = len(matches(scene, query)) > 1  # "the leftmost ring" implies other rings
        for extreme in extremes if several else ():
            if not (query.size and extreme in ("largest", "smallest")):
                yield Query(**fields, extreme=extreme)
        rng.shuffle(relations)
        for relation in relations:
            for anchor in anchors:
                if anchor is not None:
                    yield Query(**fields, relation=relation, anchor=anchor)


def expressions(scene: Scene, target: int, rng: Random) -> list[Expression]:
    """Return every tried expression that means object ``target`` and nothing else, in random order.

    May be empty, for example for two equal objects at nearly the same place.
    """
    found = [q for q in _candidates(scene, target, rng) if refers_to(scene, q) == target]
    rng.shuffle(found)
    return [Expression(text=f"the {q.text}", query=q, target=target) for q in found]


def referring(scene: Scene, rng: Random, target: int | None = None) -> Expression | None:
    """Return one unique referring expression, or None when there is none.

    ``target`` None tries the objects in random order. Plain attributes, extremes and relations are
    equally likely where they exist.
    """
    order = list(range(len(scene.objects))) if target is None else [target]
    rng.shuffle(order)
    for index in order:
        kinds: dict[str, list[Expression]] = {}
        for expression in expressions(scene, index, rng):
            query = expression.query
            kind = "relation" if query.relation else "extreme" if query.extreme else "plain"
            kinds.setdefault(kind, []).append(expression)
        if kinds:
            return rng.choice(kinds[rng.choice(sorted(kinds))])
    return None
