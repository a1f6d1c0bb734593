"""JSON as MDETR prepared it (Kamath et al., 2021), ``finetune_refcoco_train.json`` and its like.

COCO's layout with one image entry per expression, which has the caption; annotations have
"tokens_positive", the characters of the root phrase: ``[[first, last (exclusive)], ...]``, of which
everything from the first to the last is taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffuprompt.grounding.worlds.checking import Collector
from diffuprompt.grounding.worlds.coco import by_id, table
from diffuprompt.grounding.worlds.splits import chosen_files


def has_captioned_images(data: Any) -> bool:
    """Whether a COCO file is one of MDETR's: its images have captions."""
    images = data.get("images") if isinstance(data, dict) else None
    return isinstance(images, list) and any(isinstance(i, dict) and "caption" in i for i in images)


def read_mdetr(data: Any, path: Path, split: str, collector: Collector) -> None:
    """Give a collector the expressions of a split.

    Args:
        data: what the file holds.
        path: the file.
        split: see `chosen_files`.
        collector: gathers expressions and problems; two annotations of one expression are one.

    Raises:
        DataError: the file has another layout, or no such split.
    """
    images, annotations = table(data, "images", path), table(data, "annotations", path)
    every = by_id(images, "image", collector)
    names = chosen_files(every, path, split, collector.problems)
    owners: dict[str, str] = {}
    for key, row in by_id(annotations, "annotation", collector).items():
        where, image_id = f"annotation {key}", str(row.get("image_id"))
        image = every.get(image_id)
        if image is None:
            collector.problems.add(where, f"unknown image_id {image_id[:80]!r}")
            continue
        other = owners.setdefault(image_id, key)
        if other != key:
            what = f"image {image_id} has annotation {other} already; one box an expression is read"
            collector.problems.add(where, what)
        elif not isinstance(image.get("file_name"), str) or image["file_name"] in names:
            target = collector.target(
                where,
                collector.pictures.find(where, image.get("file_name"), image),
                collector.xywh(where, row.get("bbox")),
                row.get("segmentation"),
            )
            root = _hull(row.get("tokens_positive"))
            collector.add(where, image_id, target, image.get("caption"), root=root)
    for key in every:
        if key not in owners:
            collector.problems.add(f"image {key}", "no annotation says what its caption means")


def _hull(spans: Any) -> Any:
    """Return the first and last character of spans; what is malformed is refused as a root."""
    if not isinstance(spans, list) or not spans:
        return spans
    pairs = [span for span in spans if isinstance(span, list) and len(span) == 2]
    if len(pairs) < len(spans) or not all(type(n) is int for pair in pairs for n in pair):
        return spans
    return [min(first for first, _ in spans), max(last for _, last in spans)]
