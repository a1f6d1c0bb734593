"""Protocols by name."""

from __future__ import annotations

from diffuprompt.data import Manifest
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.protocols import base_to_new, cross_dataset, domain, few_shot, holdout
from diffuprompt.protocols.protocol import Protocol
from diffuprompt.protocols.roles import Roles, check

_ALL = (
    base_to_new.PROTOCOL,
    few_shot.PROTOCOL,
    cross_dataset.PROTOCOL,
    domain.PROTOCOL,
    holdout.PROTOCOL,
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; raises `ConfigError` with the near miss."""
    if name not in PROTOCOLS:
        hint = near_miss(name, list(PROTOCOLS))
        raise ConfigError(f"protocol: expected one of {list(PROTOCOLS)}, got {name!r}.{hint}")
    return PROTOCOLS[name]


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
    return check(find_protocol(protocol).roles(manifest, chosen), protocol, manifest)
