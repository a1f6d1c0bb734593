"""Miniature copies of the layouts in which expressions about picture files are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 20, 10
POLYGON = [2, 1, 8, 1, 8, 7, 2, 7]  # of the box [2, 1, 6, 6]


def picture(path: Path, seed: int = 0) -> Path:
    """Write a picture of noise, 20 pixels wide and 10 high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def written(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return path


def python2(value: object) -> bytes:
    """Return a pickle as Python 2 writes it by default, without the memo and the final stop."""
    if isinstance(value, str):
        return b"S" + ascii(value).encode() + b"\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + b"".join(python2(item) + b"a" for item in value)
    assert isinstance(value, dict)
    return b"(d" + b"".join(python2(k) + python2(v) + b"s" for k, v in value.items())


def user_data(num_pictures: int = 3) -> dict[str, Any]:
    """A user's own file: one annotation a picture."""
    ids = range(1, num_pictures + 1)
    return {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in ids],
        "annotations": [
            {
                "id": 10 * i,
                "image_id": i,
                "bbox": [2, 1, 6, 6],
                "caption": f"The red cup number {i}.",
                "root": "red cup",
                "segmentation": [POLYGON],
            }
            for i in ids
        ],
    }


def user_file(folder: Path, data: dict[str, Any] | None = None) -> Path:
    """Write a user's own file and its pictures beside it."""
    data = user_data() if data is None else data
    for i, image in enumerate(data["images"]):
        picture(folder / image["file_name"], seed=i)
    return written(folder / "mine.json", data)


def refer_data() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return references and instances of RefCOCO's layout: one reference a split."""
    refs, annotations, images = [], [], []
    for i, split in enumerate(("train", "val", "testA", "testB"), 1):
        name = f"COCO_train2014_{i:012}.jpg"
        images.append({"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH})
        box, polygons = [2.5, 1, 6, 6], [POLYGON]
        ids = {"id": 100 + i, "image_id": i, "category_id": 1}
        annotations.append({**ids, "bbox": box, "segmentation": polygons, "iscrowd": 0})
        sentences = [
            {"sent_id": 10 * i + k, "sent": text, "raw": f"{text}!", "tokens": text.split()}
            for k, text in enumerate(["man on left", "caf\xe9 owner"])
        ]
        refs.append({
            **{"ref_id": 7 * i, "ann_id": 100 + i, "category_id": 1, "image_id": i},
            **{"file_name": f"{name[:-4]}_0.jpg", "split": split, "sentences": sentences},
            "sent_ids": [sentence["sent_id"] for sentence in sentences],
        })  # fmt: skip
    return refs, {"images": images, "annotations": annotations, "categories": []}


def refer_folder(
    root: Path, refs: list[dict[str, Any]] | None = None, instances: dict[str, Any] | None = None
) -> Path:
    """Write ``data/refcoco`` and ``data/images/mscoco/images/train2014``, as the toolbox does."""
    default_refs, default_instances = refer_data()
    instances = default_instances if instances is None else instances
    folder = root / "data/refcoco"
    written(folder / "instances.json", instances)
    (folder / "refs(unc).p").write_bytes(python2(default_refs if refs is None else refs) + b".")
    for image in default_instances["images"]:
        picture(root / "data/images/mscoco/images/train2014" / image["file_name"])
    return folder


def mdetr_data() -> dict[str, Any]:
    """Return ``finetune_refcoco_train.json``: two expressions about one picture."""
    captions = ["the man left of the tree", "tree that is behind the man"]
    spans = [[[0, 7]], [[0, 4]]]
    picture_of = {"file_name": "COCO_train2014_1.jpg", "height": HEIGHT, "width": WIDTH}
    return {
        "images": [
            {**picture_of, "id": i, "original_id": 5, "caption": text, "dataset_name": "refcoco"}
            for i, text in enumerate(captions)
        ],
        "annotations": [
            {
                **{"id": i, "image_id": i, "bbox": [2 + i, 1, 6, 6], "iscrowd": 0, "area": 36},
                **{"category_id": 1, "original_id": 9, "tokens_positive": tokens},
            }
            for i, tokens in enumerate(spans)
        ],
        "categories": [],
    }


FLICKR_SENTENCES = (
    "[/EN#1/people Two boys] throw [/EN#2/other/toys a ball] in [/EN#3/scene the park] .",
    "[/EN#0/notvisual It] is [/EN#2/other the ball] of [/EN#1/people the boys] .",
)
FLICKR_XML = """<annotation><filename>36.jpg</filename>
<size><width>20</width><height>10</height><depth>3</depth></size>
<object><name>1</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>
</object>
<object><name>1</name><bndbox><xmin>8</xmin><ymin>1</ymin><xmax>12</xmax><ymax>8</ymax></bndbox>
</object>
<object><name>2</name><name>9</name>
<bndbox><xmin>14</xmin><ymin>2</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object>
</annotation>
"""


def flickr_folder(root: Path, xml: str = FLICKR_XML, lines: tuple[str, ...] = FLICKR_SENTENCES):
    """Write Flickr30k Entities with one picture, of the validation split."""
    written(root / "Annotations/36.xml", xml)
    written(root / "Sentences/36.txt", "\n".join(lines) + "\n")
    written(root / "val.txt", "36\n")
    written(root / "train.txt", "37\n")
    picture(root / "flickr30k-images/36.jpg")
    return root
