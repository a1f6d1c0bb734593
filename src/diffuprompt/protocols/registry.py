"""Protocols by name."""

from __future__ import annotations

from collections.abc import Callable

from diffuprompt.data import Manifest
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.protocols import base_to_new, few_shot, holdout
from diffuprompt.protocols.roles import Roles, check

PROTOCOLS: dict[str, Callable[[Manifest, Manifest], Roles]] = {
    "base-to-new": base_to_new.roles,
    "few-shot": few_shot.roles,
    "holdout": holdout.roles,
}


def roles_of(protocol: str, manifest: Manifest, chosen: Manifest) -> Roles:
    """Return which images of ``manifest`` play which role.

    Args:
        protocol: a name of `PROTOCOLS`.
        manifest: the whole data set.
        chosen: its few-shot selection, see `data.fewshot.few_shot`.

    Raises:
        ConfigError: the name is unknown.
        DataError: a subset has fewer than two classes, or the protocol misses images.
    """
    if protocol not in PROTOCOLS:
        hint = near_miss(protocol, list(PROTOCOLS))
        raise ConfigError(f"protocol: expected one of {list(PROTOCOLS)}, got {protocol!r}.{hint}")
    return check(PROTOCOLS[protocol](manifest, chosen), protocol, manifest)
