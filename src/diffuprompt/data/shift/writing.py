"""Write the shifted copies of a data set's pictures as a data set to test on.

A folder ``KIND-SEVERITY`` holds ``test/<class>/<number>.png``, ``classnames.txt``, which says what
the class folders are called, and ``shift.json``, which says what all of it was made of. Class
folders begin with the label, so that classes, and therefore base and new halves, and the pictures
of a class stand in the order of the original.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from diffuprompt.data.decode import ORIENTATION, read_picture
from diffuprompt.data.identifiers import FILE
from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.paths import has_content
from diffuprompt.data.shift.kinds import SEVERITIES, check_kind, shifted
from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import ConfigError, DataError, writing
from diffuprompt.reading import read_json

SCHEMA = "diffuprompt.shift/1"
ABOUT = "shift.json"
AT_ONCE = 256  # copies that wait to be written
About = dict[str, Any]  # what copies were made of, as `ABOUT` holds it


def write_shifted(
    manifest: Manifest,
    out: Path,
    *,
    kind: str,
    severity: int,
    seed: int = 1,
    split: Split = "test",
    progress: Progress = NULL,
) -> Path:
    """Write one split of ``manifest`` under one shift and return the folder, a data set to test on.

    Pictures keep their size and are stored without loss. What is random about one follows from
    ``seed``, its relative path, kind and severity, and from nothing else. The folder appears when
    it is complete; an interrupted call goes on where it was, and a complete folder is left alone,
    except that files in it that are gone or empty are made again. One process writes at a time.

    Args:
        manifest: a data set whose files exist.
        out: folder of all shifted copies; this one is ``out/KIND-SEVERITY``.
        kind: a name of `SHIFTS`.
        severity: 1 to 5.
        seed: of everything random.
        split: which pictures.
        progress: counts pictures.

    Raises:
        ConfigError: no such kind or severity.
        DataError: the split is empty, a picture cannot be read, the folder holds other copies, or
            ``out`` cannot be written to.
    """
    check_kind(kind)
    if severity not in SEVERITIES:
        raise ConfigError(f"severities: expected some of {list(SEVERITIES)}, got {severity}")
    if not manifest.splits[split]:
        raise DataError(f"{manifest.name}: there is no picture in {split} to shift")
    folder = out / f"{kind}-{severity}"
    about = _about(manifest, kind, severity, seed, split)
    targets = _targets(manifest, split)
    if _left(folder, about, targets):
        from diffuprompt.runs import locked  # loads torch

        with locked(out, "another process writes shifted copies there"):
            _finish(manifest, folder, about, targets, progress)
    return folder


def _left(folder: Path, about: About, targets: Mapping[Item, str]) -> list[tuple[Item, str]]:
    """Return the copies that are not in a folder; raises `DataError` where it holds others."""
    if folder.exists() and _read(folder / ABOUT) != about:
        raise DataError(
            f"{folder}: is there and holds something else than {about['dataset']}, "
            f"{about['split']}, under {about['kind']}, severity {about['severity']}, seed "
            f"{about['seed']}; name another folder with --out, or remove it"
        )
    return [(item, path) for item, path in targets.items() if not has_content(folder / path)]


def _finish(
    manifest: Manifest, folder: Path, about: About, targets: Mapping[Item, str], progress: Progress
) -> None:
    """Write what is left of the copies, of a new folder aside until it is complete."""
    left, place = _left(folder, about, targets), folder
    if not folder.exists():
        place = folder.with_name(f".{folder.name}.part")
        if place.exists() and _read(place / ABOUT) != about:  # begun for other pictures
            shutil.rmtree(place)
        left = _left(place, about, targets)
    elif not left:  # another process wrote them meanwhile
        return
    kind, severity = about["kind"], about["severity"]
    with writing(folder):
        for parent in dict.fromkeys(Path(path).parent for path in targets.values()):
            (place / parent).mkdir(parents=True, exist_ok=True)
        _write(place / ABOUT, json.dumps(about, indent=1).encode())
        with progress.task(f"{kind}, severity {severity}", total=len(left)) as task:
            for path, data in _copies(manifest, left, kind, severity, about["seed"]):
                _write(place / path, data)
                task.advance(1)
        names = [f"{_folder(i, name)}\t{name}" for i, name in enumerate(manifest.classes)]
        _write(place / FILE, ("\n".join(names) + "\n").encode())
        if place != folder:
            os.replace(place, folder)


def _copies(
    manifest: Manifest, left: Sequence[tuple[Item, str]], kind: str, severity: int, seed: int
) -> Iterator[tuple[str, bytes]]:
    """Yield where each copy goes and its bytes, in order; threads make them."""

    def make(one: tuple[Item, str]) -> tuple[str, bytes]:
        item, path = one
        random = _stream(seed, item.path, kind, severity)
        return path, _shifted_png(manifest.root / item.path, kind, severity, random)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(left), AT_ONCE):
            yield from pool.map(make, left[start : start + AT_ONCE])


def _about(manifest: Manifest, kind: str, severity: int, seed: int, split: Split) -> About:
    """Return all that the copies depend on."""
    pictures = hashlib.sha256()
    for item in manifest.splits[split]:
        pictures.update(hashlib.sha256((manifest.root / item.path).read_bytes()).digest())
    rows = [[item.path, item.label] for item in manifest.splits[split]]
    listed = hashlib.sha256(json.dumps([manifest.classes, rows]).encode()).hexdigest()
    return {
        "schema_name": SCHEMA,
        "dataset": manifest.name,
        "split": split,
        "kind": kind,
        "severity": severity,
        "seed": seed,
        "listed": listed[:16],
        "pictures": pictures.hexdigest()[:16],
    }


def _read(path: Path) -> Any:
    return read_json(path, error=DataError) if path.is_file() else None


def _targets(manifest: Manifest, split: Split) -> dict[Item, str]:
    """Return where the copy of each picture goes, relative to the folder of the shift."""
    counts: Counter[int] = Counter()
    out = {}
    for item in manifest.splits[split]:
        name = _folder(item.label, manifest.classes[item.label])
        out[item] = f"test/{name}/{counts[item.label]:05d}.png"
        counts[item.label] += 1
    return out


def _folder(label: int, name: str) -> str:
    """Return a folder name that every file system takes, in the order of the labels."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return f"{label:05d}-{re.sub(r'[^A-Za-z0-9]+', '_', plain)[:60].strip('_')}".rstrip("-")


def _stream(seed: int, path: str, kind: str, severity: int) -> list[int]:
    digest = hashlib.sha256(f"{path}\n{kind}\n{severity}".encode()).digest()
    return [seed, int.from_bytes(digest[:16])]


def _shifted_png(path: Path, kind: str, severity: int, seed: Sequence[int]) -> bytes:
    """Return the shifted picture as PNG, with the orientation that the original names.

    Raises `DataError` where it cannot be read; the arguments are otherwise those of `shifted`.
    """
    image, orientation = read_picture(path)
    exif = Image.Exif()
    if orientation != 1:
        exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    shifted(image, kind, severity, seed).save(buffer, "PNG", exif=exif if exif else None)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Replace a file whole; it is not synced: what a power cut leaves empty is made again."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
