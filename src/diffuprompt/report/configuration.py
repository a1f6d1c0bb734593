"""Configurations of records as flat fields, and where two of them differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "absent"
# Fields that only some versions write -> the value at which they change nothing.
NEUTRAL = {
    "diffusion.conditioning": '"tokens"',  # dropped, as the next four
    "diffusion.text_tokens": "0",
    "overfit.episode": "0",
    "overfit.proximal": "0.0",
    "overfit.smoothing": "0.0",
    "fit.condition_noise": "0.0",  # came later
}


def flat_fields(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of all sections as JSON text by their dotted names: "train.epochs": "10".

    The seed is left out: configurations that differ in nothing else are repetitions. So is what
    another version does not write, where it changes nothing.
    """
    return {
        name: value
        for name, value in _flat(config, "")
        if name != "seed" and NEUTRAL.get(name) != value
    }


def differing_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> frozenset[str]:
    """Return the dotted names of the fields that differ or that only one configuration has."""
    left, right = flat_fields(a), flat_fields(b)
    names = left.keys() | right.keys()
    return frozenset(n for n in names if left.get(n, ABSENT) != right.get(n, ABSENT))


def _flat(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value)
