"""What a protocol decides: training images, and the parts of the test set that count.

No label and no picture is read here.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffuprompt.data import Item, Manifest, Split
from diffuprompt.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Images with labels among ``classes``, the names to choose from."""

    items: tuple[Item, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Training images, and test images by subset ("base", "new", "all"), each of them once."""

    train: Selection
    tests: dict[str, Selection]

    @property
    def open_world(self) -> Selection | None:
        """The test images of base and then of new classes among the names of both, base first.

        None for a protocol without new classes.
        """
        if not {"base", "new"} <= self.tests.keys():
            return None
        base, new = self.tests["base"], self.tests["new"]
        behind = tuple(Item(i.path, i.label + len(base.classes)) for i in new.items)
        return Selection(items=base.items + behind, classes=base.classes + new.classes)


def select(manifest: Manifest, *splits: Split) -> Selection:
    """Return all images of some splits."""
    items = tuple(item for split in splits for item in manifest.splits[split])
    return Selection(items=items, classes=manifest.classes)


def check(roles: Roles, protocol: str, manifest: Manifest) -> Roles:
    """Return ``roles``; raises `DataError` where a subset leaves nothing to tell apart."""
    alone = [
        f"{subset} has {list(part.classes)}"
        for subset, part in roles.tests.items()
        if len(part.classes) < 2
    ]
    if alone:
        raise DataError(
            f"{manifest.root}: {len(manifest.classes)} classes are too few for the protocol "
            f"{protocol}: {' and '.join(alone)}, which leaves nothing to tell apart; "
            "use --protocol few-shot, or add classes"
        )
    return roles
