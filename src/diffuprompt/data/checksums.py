"""Checksums of a data set's pictures, as the command ``sha256sum`` writes and checks them.

A line is ``<64 hex digits>  <path>``, relative to the folder of the images: there,
``sha256sum -c FILE`` says the same. Loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from diffuprompt.data.class_names import short
from diffuprompt.data.manifest import MAX_SHOWN, Manifest, Problem
from diffuprompt.errors import DataError, writing
from diffuprompt.reading import read_text

_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")


def write_checksums(file: Path, digests: Mapping[str, str]) -> None:
    r"""Write sha256 by relative path, sorted; ``\`` and line ends in names as sha256sum does."""
    lines = []
    for path, digest in sorted(digests.items()):
        name = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{chr(92) if name != path else ''}{digest}  {name}\n")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_checksums(file: Path) -> dict[str, str]:
    """Inverse of `write_checksums`; reads what sha256sum writes.

    Raises:
        DataError: lines are none of this form, or one path has two checksums; all at once.
    """
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(read_text(file, error=DataError).split("\n"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None:
            problems.append(f"line {number}: expected 64 hex digits, two spaces and a path")
            continue
        escaped, digest, path = match.groups()
        if escaped:
            path = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), path)
        path = path.removeprefix("./")
        if found.setdefault(path, digest) != digest:
            problems.append(f"line {number}: {short(path)} has another checksum above")
    if not found and not problems:
        problems.append("there is no line in it")
    if problems:
        shown = "\n  ".join(problems[:MAX_SHOWN])
        raise DataError(f"{file}: {len(problems)} problem(s)\n  {shown}")
    return found


def compare(
    manifest: Manifest, wanted: Mapping[str, str], digests: Mapping[str, str]
) -> list[Problem]:
    """Return a problem for every picture that is not what ``wanted`` says, in order of path.

    Pictures that ``wanted`` does not know are warnings. Of a picture that is listed but has no
    digest, `verify` has said already what is wrong.
    """
    listed = {item.path for items in manifest.splits.values() for item in items}
    problems = []
    for path in sorted({*wanted, *digests}):
        if path in wanted and path not in listed:
            what, fix = "is in the checksums, but not in the data set", "restore it"
        elif path not in wanted:
            what, fix = "is not in the checksums", "write them again if it belongs here"
        elif wanted[path] != digests.get(path, wanted[path]):
            what, fix = "other bytes than the checksums say", "restore it"
        else:
            continue
        where = str(manifest.root / path)
        known = path in wanted
        problems.append(
            Problem(path=where, what=what, fix=fix, severity="error" if known else "warning")
        )
    return problems
