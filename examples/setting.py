"""What the examples share: a small folder of pictures, and the folder that they write to."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from diffuprompt.data import Look, single

CLASSES = ("red star", "green star", "blue circle", "yellow circle", "black heart", "green heart")
PICTURES = 12  # per class; a part of them become the test images


def draw_pictures(folder: Path) -> Path:
    """Write one subfolder of pictures per class and return ``folder``."""
    for name in CLASSES:
        colour, shape = name.split()
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(PICTURES):
            look = Look(shape, colour, "solid")
            single(look, 7, i, distractors=1).image.save(folder / name / f"{i}.png")
    return folder


def run_in_folder(main: Callable[[Path], None], about: str | None) -> None:
    """Call ``main`` with the folder named by ``--out``, or with one that is deleted at the end."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder to write to; by default a temporary one")
    asked = parser.parse_args().out
    with tempfile.TemporaryDirectory() as temporary:
        out = asked or Path(temporary)
        os.environ.setdefault("DIFFUPROMPT_CACHE", str(out / "cache"))  # else ~/.cache/diffuprompt
        main(out)
