"""A JSON file of a user's own, after COCO's: pictures, and annotations with box and caption.

    {"images": [{"id": 1, "file_name": "a.jpg"}],
     "annotations": [{"id": 1, "image_id": 1, "bbox": [x, y, width, height],
                      "caption": "the red cup left of the lamp", "root": "the red cup",
                      "segmentation": [[x, y, x, y, x, y]]}]}

Boxes count pixels of the picture as it is stored; an EXIF orientation is not applied. "root" is a
part of the caption, or the places of its first and last (exclusive) character.

"root" and "segmentation" may be missing, the latter of all annotations alike. Images may have
"height" and "width", which are then compared, and a "split".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.checking import Collector
from diffuprompt.grounding.worlds.splits import chosen_files


def table(data: Any, key: str, path: Path) -> list[Any]:
    """Return one of the lists of a COCO file.

    Raises:
        DataError: there is none.
    """
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise DataError(f'{path}: no list "{key}"; expected an object with "images", "annotations"')
    return found


def by_id(rows: list[Any], what: str, collector: Collector) -> dict[str, dict[str, Any]]:
    """Return the objects of a list by their ids, and note what is no object or stands twice."""
    known: set[str] = set()
    found = {}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            collector.problems.add(f"{what} at position {i}", "it is no object")
            continue
        key = collector.problems.identify(what, row.get("id"), known)
        if key is not None:
            found[key] = row
    return found


def read_coco(data: Any, path: Path, split: str, collector: Collector) -> None:
    """Give a collector the expressions of a split of a user's own file.

    Args:
        data: what the file holds.
        path: the file.
        split: see `chosen_files`.
        collector: gathers expressions and problems.

    Raises:
        DataError: the file has another layout, or no such split.
    """
    images, annotations = table(data, "images", path), table(data, "annotations", path)
    every = by_id(images, "image", collector)
    names = chosen_files(every, path, split, collector.problems)
    for key, row in by_id(annotations, "annotation", collector).items():
        where = f"annotation {key}"
        image = every.get(str(row.get("image_id")))
        if image is None:
            collector.problems.add(where, f"unknown image_id {str(row.get('image_id'))[:80]!r}")
        elif not isinstance(image.get("file_name"), str) or image["file_name"] in names:
            target = collector.target(
                where,
                collector.pictures.find(where, image.get("file_name"), image),
                collector.xywh(where, row.get("bbox")),
                row.get("segmentation"),
            )
            collector.add(where, key, target, row.get("caption"), root=row.get("root"))
