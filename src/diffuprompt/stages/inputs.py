"""What goes into the stages of one job: images, backbone, and a name for the content of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuprompt.data import reading_of
from diffuprompt.engine import NULL, Progress
from diffuprompt.protocols import Selection
from diffuprompt.runs import Contents, digest

Sentences = Mapping[str, Sequence[str]]


def picture_hashes(
    contents: Contents, paths: Sequence[Path], progress: Progress = NULL
) -> list[str]:
    """Return one hash for each picture: of its bytes and, where this has changed, its reading."""
    hashes = contents.hash_all([[path] for path in paths], progress)
    marks = map(reading_of, paths)
    return [digest([h, mark]) if mark else h for h, mark in zip(hashes, marks, strict=True)]


def training_key(selection: Selection, hashes: Sequence[str]) -> str:
    """Name training images: paths (random views are drawn by them), bytes, labels and names.

    ``hashes`` are those of the pictures' bytes, in the order of ``selection.items``.
    """
    rows = [[i.path, i.label, h] for i, h in zip(selection.items, hashes, strict=True)]
    return digest(["training images", list(selection.classes), rows])


def scoring_key(selection: Selection, hashes: Sequence[str]) -> str:
    """Name test images: bytes, labels and names, in their order; where they lie does not count."""
    rows = [[i.label, h] for i, h in zip(selection.items, hashes, strict=True)]
    return digest(["test images", list(selection.classes), rows])


def sentences_key(sentences: Sentences) -> str:
    """Name what a language model wrote about the classes; "templates" where there is nothing."""
    if not sentences:
        return "templates"
    return digest(json.loads(json.dumps(sentences)))
