"""How other data to test on is named: a data set, and maybe a half of its classes behind it."""

from __future__ import annotations

from diffuprompt.data import absolute_spec

HALVES = ("base", "new")
SUBSETS = (*HALVES, "all")


def name_and_subset(spec: str) -> tuple[str, str]:
    """Split "NAME:base" and "NAME:new"; without one of `SUBSETS` behind it, all classes count."""
    name, colon, subset = spec.rpartition(":")
    return (name, subset) if colon and subset in SUBSETS else (spec, "all")


def absolute_target(spec: str) -> str:
    """Return what means the same test set from another working directory."""
    name, subset = name_and_subset(spec)
    return absolute_spec(name) + (f":{subset}" if name != spec else "")
