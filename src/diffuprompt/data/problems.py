"""Open every image of a data set before anything is trained, and report all that is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffuprompt.data.decode import ImageError, read_picture
from diffuprompt.data.identifiers import doubtful_names
from diffuprompt.data.manifest import Manifest, Problem, Split
from diffuprompt.engine import NULL, Progress

__all__ = ["Problem", "verify"]

Place = tuple[str, str, int]  # split, path, label


def verify(
    manifest: Manifest,
    progress: Progress = NULL,
    needs: Sequence[Split] = ("train",),
    digests: MutableMapping[str, str] | None = None,
) -> list[Problem]:
    """Return every problem of ``manifest``: structure first, then images in manifest order.

    Errors are what `Manifest.problems` finds and every image that cannot be decoded completely, in
    the words of the errors that training, evaluation and prediction would raise. Warnings are class
    names that are no words, files with equal bytes that leak from one split into another or carry
    two labels, and an EXIF orientation, which is not applied. Without an error, training and
    evaluation will meet none in the data.

    Args:
        manifest: the data set.
        progress: counts images.
        needs: the splits in which every class must have an image.
        digests: receives the sha256 of every picture that can be read, by its relative path.
    """
    problems = [*manifest.problems(needs), *doubtful_names(manifest)]
    places = [(s, i.path, i.label) for s, items in manifest.splits.items() for i in items]
    places = [place for place in places if os.path.isfile(manifest.root / place[1])]
    copies: dict[str, list[Place]] = {}
    turned: list[Path] = []
    with (
        progress.task("verifying images", total=len(places)) as task,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        results = pool.map(_inspect, [manifest.root / path for _, path, _ in places])
        for place, (digest, orientation, problem) in zip(places, results, strict=True):
            task.advance(1)
            if digests is not None and digest:
                digests[place[1]] = digest
            if problem:
                problems.append(problem)
            elif place[1] not in [path for _, path, _ in copies.get(digest, [])]:
                copies.setdefault(digest, []).append(place)
            if orientation != 1:
                turned.append(manifest.root / place[1])
    return [*problems, *_copy_problems(manifest, copies), *_turned_problems(turned, len(places))]


def _inspect(path: Path) -> tuple[str, int, Problem | None]:
    try:
        orientation = read_picture(path)[1]
        return hashlib.sha256(path.read_bytes()).hexdigest(), orientation, None
    except ImageError as error:
        return "", 1, Problem(path=str(path), what=error.what, fix=error.fix)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return "", 1, Problem(path=str(path), what=what, fix="restore it")


def _turned_problems(turned: list[Path], many: int) -> Iterator[Problem]:
    if turned:
        count = f"{len(turned)} of {many} images, this one first"
        yield Problem(
            path=str(turned[0]),
            what=f"{count}, carry an EXIF orientation; it is not applied, as CLIP's own "
            "preprocessing does not",
            fix="turn their pixels, or train with --exif-orientation",
            severity="warning",
        )


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
