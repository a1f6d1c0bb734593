"""Base-to-new inside the base classes, to choose settings by.

Half of the base classes play the new ones. Neither a new class nor a test image is seen.
"""

from __future__ import annotations

from diffuprompt.data import Manifest, base_new
from diffuprompt.protocols.protocol import Layout, Protocol
from diffuprompt.protocols.roles import Roles, select


def roles(manifest: Manifest, chosen: Manifest) -> Roles:
    """Test on all val images, and for the classes that play the new ones on train images too.

    Nothing is trained on those. Raises `DataError` for a base class without val images.
    """
    base, _ = base_new(base_new(chosen)[0])
    old, new = base_new(base_new(manifest)[0].check(needs=("train", "val")))
    tests = {"base": select(old, "val"), "new": select(new, "val", "train")}
    return Roles(train=select(base, "train"), tests=tests)


PROTOCOL = Protocol(
    name="holdout",
    about="base-to-new inside the base classes, on val images, to choose settings",
    source="python -m tools.choose_recipes",
    roles=roles,
    layout=Layout(own=("base", "new"), harmonic=("base", "new")),
    recipes="base-to-new",
)
