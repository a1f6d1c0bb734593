"""The data set `scenes`: forty looks to tell apart, written once as PNG files.

Twenty base classes come first, twenty new ones after them, so that halving the class list gives
base and new. In each half about half of the looks are held out of the pre-training of
`scenes-clip`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.scenes.attributes import STYLES, Look, Style, check
from diffuprompt.data.scenes.world import single

VERSION = "scenes-v1"
SIZE = 64
COUNTS: dict[Split, int] = {"train": 24, "val": 8, "test": 25}
_SEED = 20241020

_BASE = (
    "red star", "red striped star", "orange star", "orange dotted star",
    "blue heart", "blue dotted heart", "purple heart", "purple outlined heart",
    "green hexagon", "green striped hexagon", "green pentagon", "cyan outlined pentagon",
    "pink crescent", "pink striped crescent", "brown ring", "brown dotted ring",
    "yellow striped arrow", "yellow arrow", "gray dotted drop", "gray outlined drop",
)  # fmt: skip
_NEW = (
    "red flower", "red dotted flower", "orange striped flower", "orange outlined crown",
    "blue crown", "blue striped crown", "purple striped diamond", "purple diamond",
    "green dotted bolt", "green outlined bolt", "cyan bolt", "cyan dotted trapezoid",
    "pink dotted house", "pink house", "brown striped house", "brown trapezoid",
    "yellow outlined cross", "yellow dotted cross", "gray striped semicircle", "gray oval",
)  # fmt: skip


def parse_look(name: str) -> Look:
    """Inverse of `Look.name`: ``red striped star`` or ``red star``."""
    words = name.split()
    return Look(words[-1], words[0], words[1] if len(words) == 3 else "solid")


CLASSES: tuple[str, ...] = _BASE + _NEW


def cache_folder(style: Style) -> Path:
    """Where the pictures of one style live when no folder is given."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "diffuprompt" / f"{VERSION}-{style}"


def manifest(root: Path, style: Style = "clean") -> Manifest:
    """Describe the data set as it lies in ``root``, whether or not it has been written yet."""
    splits = {
        split: tuple(
            Item(path=f"images/{name.replace(' ', '_')}/{split}_{k:03d}.png", label=label)
            for label, name in enumerate(CLASSES)
            for k in range(count)
        )
        for split, count in COUNTS.items()
    }
    name = "scenes" if style == "clean" else f"scenes-{style}"
    return Manifest(name=name, root=root, classes=CLASSES, splits=splits)


def _split_json(data: Manifest) -> str:
    rows = {
        split: [[item.path, item.label, CLASSES[item.label]] for item in items]
        for split, items in data.splits.items()
    }
    return json.dumps(rows)


def _write(folder: Path, style: Style) -> None:
    data = manifest(folder, style)
    for name in CLASSES:
        (folder / "images" / name.replace(" ", "_")).mkdir(parents=True)
    for split, items in data.splits.items():
        for index, item in enumerate(items):
            picture = single(
                parse_look(CLASSES[item.label]),
                _SEED,
                index,
                size=SIZE,
                style=style,
                distractor=True,
                stream=f"dataset/{split}",
            )
            picture.image.save(folder / item.path)
    (folder / "split_zhou_scenes.json").write_text(_split_json(data))


def _complete(root: Path, data: Manifest) -> bool:
    """Whether the split file, written last, is the current one and no picture is missing."""
    marker = root / "split_zhou_scenes.json"
    if not marker.is_file() or marker.read_text() != _split_json(data):
        return False
    return all((root / i.path).is_file() for items in data.splits.values() for i in items)


def materialise(cache: Path | None = None, style: Style = "clean") -> Manifest:
    """Write the pictures of ``style`` once and return their manifest.

    ``cache`` is the folder that will hold ``images/`` and ``split_zhou_scenes.json``; None means
    the user's cache folder. The folder appears complete or not at all, also when two processes
    write it at the same time. The same looks, places and backgrounds come in every style. Raises
    `ConfigError` for an unknown style.
    """
    check("style", style, STYLES)
    root = cache_folder(style) if cache is None else Path(cache)
    data = manifest(root, style)
    if _complete(root, data):
        return data
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
        fresh = Path(temporary) / "fresh"
        fresh.mkdir()
        _write(fresh, style)
        if root.exists():
            os.replace(root, Path(temporary) / "stale")
        try:
            os.replace(fresh, root)
        except OSError:
            if not _complete(root, data):  # another process was not faster: a real problem
                raise
    return data
