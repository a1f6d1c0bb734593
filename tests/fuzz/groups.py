"""All groups by name."""

from __future__ import annotations

from tests.fuzz import (
    artifacts,
    backbones,
    folders,
    grounding_records,
    legacy,
    pictures,
    records,
    runs,
    settings,
    tables,
    toml,
)
from tests.fuzz.group import Group

_ALL: tuple[Group, ...] = (
    settings.GROUP, toml.GROUP, tables.CSV, tables.SPLIT, folders.GROUP, pictures.GROUP,
    artifacts.GROUP, runs.GROUP, records.GROUP, grounding_records.GROUP, backbones.GROUP,
    legacy.GROUP,
)  # fmt: skip
GROUPS: dict[str, Group] = {group.name: group for group in _ALL}
