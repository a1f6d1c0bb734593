"""RefCOCO, RefCOCO+ and RefCOCOg as the ``refer`` toolbox keeps them (Yu et al., 2016).

A folder with ``refs(unc).p``, ``refs(google).p`` or ``refs(umd).p``, a pickle of Python 2 of which
nothing is run, and COCO's ``instances.json``. Pictures are COCO's train2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffuprompt.checkpoints import read_plain_pickle
from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds.checking import Collector
from diffuprompt.grounding.worlds.coco import by_id, table
from diffuprompt.grounding.worlds.problems import is_id, shown
from diffuprompt.grounding.worlds.splits import SPLITS, check_split
from diffuprompt.reading import read_json

INSTANCES = "instances.json"


def read_refer(path: Path, split: str, collector: Collector) -> None:
    """Give a collector the expressions of a split, one for each sentence of a reference.

    Captions are the toolbox's "sent", in lower case without punctuation.

    Args:
        path: the pickle; `INSTANCES` lies beside it.
        split: "train", "val", "test", "testA" (people) or "testB"; "test" are all test splits.
        collector: gathers expressions and problems.

    Raises:
        DataError: a file is missing, damaged or of another layout, or there is no such split.
    """
    refs = read_plain_pickle(path, "list of references")
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"{path}: expected a list of references, each a mapping")
    there = [name for name in SPLITS if any(ref.get("split") == name for ref in refs)]
    tests = ["test"] if {"testA", "testB"} & set(there) else []
    check_split(split, list(dict.fromkeys([*there, *tests])), path)
    chosen = list(_references(refs, split, collector))
    instances = path.with_name(INSTANCES)
    data = read_json(instances, error=DataError)
    annotations = by_id(table(data, "annotations", instances), "annotation", collector)
    images = by_id(table(data, "images", instances), "image", collector)
    sentences: set[str] = set()
    for key, ref in chosen:
        _add(f"ref {key}", ref, annotations, images, sentences, collector)


def _references(
    refs: list[Any], split: str, collector: Collector
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield those of a split with their ids; ids of all are looked at."""
    ids: set[str] = set()
    for ref in refs:
        key = collector.problems.identify("ref", ref.get("ref_id"), ids)
        said = ref.get("split")
        if key is None:
            continue
        if not isinstance(said, str) or said not in SPLITS:
            known = ", ".join(SPLITS)
            collector.problems.add(f"ref {key}", f"split {shown(said)}; expected one of {known}")
        elif said == split or (split == "test" and said.startswith("test")):
            yield key, ref


def _add(
    where: str,
    ref: dict[str, Any],
    annotations: dict[str, dict[str, Any]],
    images: dict[str, dict[str, Any]],
    names: set[str],
    collector: Collector,
) -> None:
    """Add a reference's sentences, or what is wrong with it; ``names`` are those of sentences."""
    problems = collector.problems
    row = annotations.get(_key(ref.get("ann_id")))
    image = images.get(_key(ref.get("image_id")))
    sentences = ref.get("sentences")
    if row is None:
        problems.add(where, f"unknown ann_id {shown(ref.get('ann_id'))}")
    if image is None:
        problems.add(where, f"unknown image_id {shown(ref.get('image_id'))}")
    if not isinstance(sentences, list) or not sentences:
        problems.add(where, "it has no list of sentences")
    if row is None or image is None or not isinstance(sentences, list):
        return
    if _key(row.get("image_id")) != _key(image["id"]):
        problems.add(where, f"its annotation is of another image, {shown(row.get('image_id'))}")
        return
    picture = collector.pictures.find(where, image.get("file_name"), image)
    box = collector.xywh(where, row.get("bbox"))
    target = collector.target(where, picture, box, row.get("segmentation"))
    for sentence in sentences:
        said = sentence if isinstance(sentence, dict) else {}
        name = problems.identify(f"{where}, sentence", said.get("sent_id"), names)
        if name is not None:
            collector.add(f"{where}, sentence {name}", name, target, said.get("sent"))


def _key(value: object) -> str:
    """Return an id as a text, "" for what is none; it may come from a pickle."""
    return str(value) if is_id(value) else ""
