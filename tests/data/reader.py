"""An independent reader of referring expressions: which things does the wording fit?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from diffuprompt.data.scenes.referring import Thing

EXTREMES = {
    "leftmost": (0, min),
    "rightmost": (0, max),
    "topmost": (1, min),
    "bottommost": (1, max),
}
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
ORDER = ("small", "medium", "large")


def by_word(thing: Thing) -> float:
    """Rank sizes by their words."""
    return ORDER.index(thing.size)


def reading(
    text: str, things: Sequence[Thing], size: Callable[[Thing], float] = by_word
) -> set[int]:
    """Return what the phrase fits; ``size`` ranks things for "largest" and "smallest"."""
    found = re.match(
        r"(?:the )?(.*?)(?: (?:to the )?(left of|right of|above|below) the (.*))?$", text
    )
    assert found is not None
    words, relation, rest = found.group(1).split(), found.group(2), found.group(3)
    centre = [thing.centre for thing in things]
    said = [" ".join(thing.attributes.values()).split() for thing in things]
    fits = set(range(len(things)))
    for word in words:
        if word not in (*EXTREMES, "largest", "smallest", "object"):
            fits = {i for i in fits if word in said[i]}
    for word in words:
        if word in EXTREMES:
            axis, best = EXTREMES[word]
            fits = {best(fits, key=lambda i: centre[i][axis])}
        if word in ("largest", "smallest"):
            ranks = {i: size(things[i]) for i in fits}
            edge = max(ranks.values()) if word == "largest" else min(ranks.values())
            fits = {i for i in fits if ranks[i] == edge}
    if relation:
        (anchor,) = reading(rest, things, size)
        axis, sign = RELATIONS[relation]
        fits = {
            i for i in fits if i != anchor and sign * (centre[i][axis] - centre[anchor][axis]) > 0
        }
    return fits
