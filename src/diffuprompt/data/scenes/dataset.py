"""The data set `scenes`: forty looks to tell apart, written once as PNG files.

Twenty base classes come first, twenty new ones after them, so that halving the class list gives
base and new. The names are fine-grained (most differ from another one in one word), half of the
looks in each half are held out of the pre-training of `scenes-clip`, and a poor camera took the
pictures, with other small objects lying about.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from random import Random

from PIL import Image

from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.scenes.attributes import STYLES, Look, Style, check
from diffuprompt.data.scenes.camera import snapshot
from diffuprompt.data.scenes.world import single
from diffuprompt.errors import writing

VERSION = "scenes-v1"
SIZE = 64
COUNTS: dict[Split, int] = {"train": 24, "val": 8, "test": 25}
_SEED = 20241020

_BASE = (
    "yellow dotted star", "green dotted star", "black heart", "green heart",
    "orange dotted hexagon", "orange striped hexagon", "brown outlined pentagon",
    "black outlined pentagon", "brown crescent", "brown outlined crescent", "red striped ring",
    "orange striped ring", "orange striped arrow", "orange outlined arrow", "green drop",
    "brown drop", "yellow circle", "red circle", "orange striped oval", "orange dotted oval",
)  # fmt: skip
_NEW = (
    "cyan outlined square", "cyan striped square", "pink dotted triangle", "pink triangle",
    "yellow dotted cross", "orange dotted cross", "cyan outlined diamond",
    "gray outlined diamond", "yellow outlined semicircle", "yellow striped semicircle",
    "orange dotted trapezoid", "orange trapezoid", "cyan bolt", "cyan outlined bolt",
    "orange flower", "orange dotted flower", "cyan outlined house", "purple outlined house",
    "gray striped crown", "purple striped crown",
)  # fmt: skip


def parse_look(name: str) -> Look:
    """Inverse of `Look.name`: ``red striped star`` or ``red star``."""
    words = name.split()
    return Look(words[-1], words[0], words[1] if len(words) == 3 else "solid")


CLASSES: tuple[str, ...] = _BASE + _NEW


def cache_folder(style: Style) -> Path:
    """Where the pictures of one style live when no folder is given."""
    from diffuprompt.runs import cache_root  # loads torch, which drawing does not need

    return cache_root() / f"{VERSION}-{style}"


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


def picture(look: Look, split: str, index: int, style: Style) -> Image.Image:
    """Return picture ``index`` of a split: the look, one or two distractors, a poor camera."""
    rng = Random(f"scenes/dataset/{split}/{index}/{'/'.join(look)}")
    made = single(
        look,
        _SEED,
        index,
        size=SIZE,
        style=style,
        distractors=rng.randint(1, 2),
        max_turn=0.6,
        stream=f"dataset/{split}",
    )
    return snapshot(made.image, rng)


def _write(folder: Path, style: Style) -> None:
    data = manifest(folder, style)
    for name in CLASSES:
        (folder / "images" / name.replace(" ", "_")).mkdir(parents=True)
    for split, items in data.splits.items():
        for item in items:
            look = parse_look(CLASSES[item.label])
            index = int(Path(item.path).stem.removeprefix(f"{split}_"))
            picture(look, split, index, style).save(folder / item.path)
    (folder / "split_zhou_scenes.json").write_text(_split_json(data))


def _complete(root: Path, data: Manifest, style: Style) -> bool:
    """Whether ``root`` is whole and current.

    The split file, written last, lists today's classes; no picture is missing; and the first
    picture is what the generator draws today, so that a cache of an older version is replaced.
    """
    marker = root / "split_zhou_scenes.json"
    if not marker.is_file() or marker.read_text() != _split_json(data):
        return False
    if not all((root / i.path).is_file() for items in data.splits.values() for i in items):
        return False
    now = picture(parse_look(CLASSES[0]), "train", 0, style)
    with Image.open(root / data.splits["train"][0].path) as stored:
        return stored.convert("RGB").tobytes() == now.tobytes()


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
    if _complete(root, data, style):
        return data
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
        fresh = Path(temporary) / "fresh"
        with writing(root):
            fresh.mkdir()
            _write(fresh, style)
        if root.exists():
            os.replace(root, Path(temporary) / "stale")
        try:
            os.replace(fresh, root)
        except OSError:
            if not _complete(root, data, style):  # another process was not faster: a real problem
                raise
    return data
