"""Class names that are no words: found, and replaced by the names that a file gives them.

Loads no torch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from diffuprompt.data.class_names import short
from diffuprompt.data.manifest import MAX_SHOWN, Manifest, Problem
from diffuprompt.errors import DataError
from diffuprompt.reading import read_text

FILE = "classnames.txt"  # as the community has it for ImageNet
_KINDS = {
    "numbers": re.compile(r"[-+]?\d+([.,]\d+)?"),
    "WordNet ids": re.compile(r"[nvars]\d{8}"),
    "names behind identifiers": re.compile(r"(n\d{8}|\d{2,5})[._-]+[^\W\d].*"),
    "numbered classes": re.compile(
        r"(class|classe|cls|category|cat|label|id|idx|index|object|obj|type|group|folder|c|k|n)"
        r"[\s_.#-]*\d+",
        re.IGNORECASE,
    ),
    "codes": re.compile(
        r"(?=.*\d)([0-9a-f]{6,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|/?[mg][/_][0-9a-z_]{3,}"
        r"|q\d{2,})",
        re.IGNORECASE,
    ),
}


def kinds_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names that say nothing to a text tower, by what they are."""
    found: dict[str, list[str]] = {}
    for name in names:
        kind = next((k for k, form in _KINDS.items() if form.fullmatch(name.strip())), None)
        if kind is not None:
            found.setdefault(kind, []).append(name)
    return found


def doubtful_names(manifest: Manifest) -> list[Problem]:
    """Return a warning where half of the class names or more are identifiers, else nothing."""
    found = kinds_of(manifest.classes)
    many = sum(map(len, found.values()))
    if many < 2 or 2 * many < len(manifest.classes):
        return []
    example = next(iter(found.values()))[0]
    what = f"{many} of {len(manifest.classes)} class names are {' and '.join(found)}, "
    what += f"e.g. {short(example)}; prompts are made of these names, and a text tower knows words"
    fix = f"write names, or put a file {FILE} beside the class folders, the CSV or the split file, "
    fix += f"with one line for each class, such as '{example} accordion'"
    return [Problem(path=str(manifest.root), what=what, fix=fix, severity="warning")]


def with_names(manifest: Manifest, folder: Path) -> Manifest:
    """Return a data set with the class names of ``classnames.txt`` in ``folder``, if there is one.

    A line is the identifier, a tab or a space, and the name; labels stay as they are.

    Raises:
        DataError: a line has no name, an identifier stands twice, or a class has no line; all of
            it at once.
    """
    file = folder / FILE
    if not file.is_file():
        return manifest
    problems, names = [], dict[str, str]()
    for number, line in _lines(file):
        identifier, name = _cut(line, manifest.classes)
        if not name:
            problems.append(f"line {number}: expected an identifier and a name, got {short(line)}")
        elif identifier in names:
            problems.append(f"line {number}: {short(identifier)} stands there twice")
        else:
            names[identifier] = name
    problems += [f"class {name!r} has no line" for name in manifest.classes if name not in names]
    if problems:
        more = [f"... and {len(problems) - MAX_SHOWN} more"] if len(problems) > MAX_SHOWN else []
        lines = "\n  ".join([*problems[:MAX_SHOWN], *more])
        raise DataError(f"{file}: {len(problems)} problem(s)\n  {lines}")
    return replace(manifest, classes=tuple(names[name] for name in manifest.classes))


def _cut(line: str, classes: Sequence[str]) -> tuple[str, str]:
    """Return identifier and name; a space may stand in an identifier that is a class of today."""
    known = [name for name in classes if line.startswith(f"{name} ")]
    length = max(map(len, known), default=0)
    if "\t" in line or not length:
        first, _, rest = line.partition("\t" if "\t" in line else " ")
    else:
        first, rest = line[:length], line[length:]
    return first.strip(), rest.strip()


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    text = unicodedata.normalize("NFC", read_text(file, error=DataError))
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
