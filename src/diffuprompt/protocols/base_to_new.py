"""Base-to-new generalisation (CoCoOp, arXiv 2203.05557, section 4.1)."""

from __future__ import annotations

from diffuprompt.data import Manifest, base_new
from diffuprompt.protocols.protocol import Layout, Protocol
from diffuprompt.protocols.roles import Roles, select


def roles(manifest: Manifest, chosen: Manifest) -> Roles:
    """Train on the first half of the classes; test that half and the other, each by itself.

    ``chosen`` is the few-shot selection of ``manifest``.
    """
    base, new = base_new(chosen)
    tests = {"base": select(base, "test"), "new": select(new, "test")}
    return Roles(train=select(base, "train"), tests=tests)


PROTOCOL = Protocol(
    name="base-to-new",
    about="train on half of the classes, score both halves",
    source="arXiv 2203.05557",
    roles=roles,
    layout=Layout(own=("base", "new"), harmonic=("base", "new")),
)
