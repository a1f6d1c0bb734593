"""Random changes of JSON values, for tests that read what anybody may have written."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 10**9, -(10**9), 10**400, 0.5, -0.5, 1e300, 2.0),
    *("", "x", "2", "../x", "\x00\n", "\u202e", "/dev/zero", "a" * 5000),
    *([], {}, [1], ["x"], [[]], [None] * 3, {"x": 1}, [0.1] * 3, {"height": 10**9, "width": 1}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the keys that lead to every value inside ``value``."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        inner = (*path, key)
        found += places(item, inner) if isinstance(item, dict | list) else [inner]
    return found


def mutated(value: Any, rng: random.Random) -> tuple[Any, str]:
    """Return ``value`` with one of its values replaced, removed or added, and what was done."""
    changed = copy.deepcopy(value)
    path = rng.choice(places(changed))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    what, new = rng.choice(("replace", "replace", "replace", "remove", "add")), rng.choice(VALUES)
    if what == "remove":
        del inner[path[-1]]
    elif what == "add" and isinstance(inner, dict):
        inner["wings"] = new
    else:
        inner[path[-1]] = new
    return changed, f"{what} {path} {json.dumps(new)[:60]}"
