"""Few-shot classification among all classes (CoOp, arXiv 2109.01134, section 4.1)."""

from __future__ import annotations

from diffuprompt.data import Manifest
from diffuprompt.protocols.roles import Roles, select


def roles(manifest: Manifest, chosen: Manifest) -> Roles:
    """Train on the few-shot selection ``chosen`` of all classes, and test them all."""
    return Roles(train=select(chosen, "train"), tests={"all": select(chosen, "test")})
