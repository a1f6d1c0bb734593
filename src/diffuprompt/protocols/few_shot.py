"""Few-shot classification among all classes (CoOp, arXiv 2109.01134, section 4.1)."""

from __future__ import annotations

from diffuprompt.data import Manifest
from diffuprompt.protocols.protocol import Layout, Protocol
from diffuprompt.protocols.roles import Roles, select

SHOTS = (1, 2, 4, 8, 16)


def roles(manifest: Manifest, chosen: Manifest) -> Roles:
    """Train on the few-shot selection ``chosen`` of all classes, and test them all."""
    return Roles(train=select(chosen, "train"), tests={"all": select(chosen, "test")})


PROTOCOL = Protocol(
    name="few-shot",
    about="all classes",
    source="arXiv 2109.01134",
    roles=roles,
    layout=Layout(own=("all",), shots=SHOTS),
    one_list=True,
)
