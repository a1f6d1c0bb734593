"""Open every image of a data set before anything is trained, and report all that is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffuprompt.data.decode import ImageError, load_image
from diffuprompt.data.manifest import Manifest, Problem
from diffuprompt.engine import NULL, Progress

__all__ = ["Problem", "verify"]

Place = tuple[str, str, int]  # split, path, label


def verify(manifest: Manifest, progress: Progress = NULL) -> list[Problem]:
    """Return every problem of ``manifest``: structure first, then images in manifest order.

    Errors are what `Manifest.problems` finds and every image that cannot be decoded completely.
    Warnings are files with equal bytes that leak from one split into another or carry two labels.
    An empty list means that training and evaluation will meet no data error.
    """
    problems = manifest.problems()
    places = [(s, i.path, i.label) for s, items in manifest.splits.items() for i in items]
    places = [place for place in places if (manifest.root / place[1]).is_file()]
    copies: dict[str, list[Place]] = {}
    with (
        progress.task("verifying images", total=len(places)) as task,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        results = pool.map(_inspect, [manifest.root / path for _, path, _ in places])
        for place, (digest, problem) in zip(places, results, strict=True):
            task.advance(1)
            if problem:
                problems.append(problem)
            elif place[1] not in [path for _, path, _ in copies.get(digest, [])]:
                copies.setdefault(digest, []).append(place)
    return [*problems, *_copy_problems(manifest, copies)]


def _inspect(path: Path) -> tuple[str, Problem | None]:
    try:
        load_image(path)
        return hashlib.sha256(path.read_bytes()).hexdigest(), None
    except ImageError as error:
        return "", Problem(path=str(path), what=error.what, fix=error.fix)


def _copy_problems(manifest: Manifest, copies: dict[str, list[Place]]) -> Iterator[Problem]:
    for places in copies.values():
        splits = {split for split, _, _ in places}
        labels = {label for _, _, label in places}
        if len(splits) < 2 and len(labels) < 2:
            continue
        shown = ", ".join(f"{path} ({split})" for split, path, _ in places[:-1])
        names = [manifest.classes[i] for i in sorted(labels) if 0 <= i < len(manifest.classes)]
        what = f"same bytes as {shown}"
        if len(labels) > 1:
            what += f", with different labels {names}"
        leak = len(splits) > 1
        fix = "keep it in one split only" if leak else "keep it in one class only"
        yield Problem(
            path=str(manifest.root / places[-1][1]), what=what, fix=fix, severity="warning"
        )
