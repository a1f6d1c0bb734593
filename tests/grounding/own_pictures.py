"""Expressions about a user's own pictures: a JSON file after COCO's, and the pictures beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ("red", "green")


def own_pictures(folder: Path, train: int = 6, test: int = 2, **changes: Any) -> Path:
    """Write pictures of a red and a green polygon and return the file; ``changes`` break one."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(train + test):
        name = f"{i}.png"
        picture = Image.new("RGB", (48, 40), "white")
        for j, colour in enumerate(COLOURS):
            x, y = 2 + 24 * j + i % 3, 4 + 3 * i % 11
            corners = [x, y, x + 18, y, x + 18, y + 16, x, y + 16]
            ImageDraw.Draw(picture).polygon(corners, fill=colour)
            annotations.append(
                {
                    "id": 10 * i + j, "image_id": i, "bbox": [x, y, 18, 16],
                    "caption": f"the {colour} cup", "segmentation": [corners],
                }
            )  # fmt: skip
        picture.save(folder / name)
        split = "train" if i < train else "test"
        images.append({"id": i, "file_name": name, "split": split})
    annotations[3] |= changes
    file = folder / "cups.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    return file
