"""A report's files and their names; loads no torch."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from diffuprompt.errors import writing

LONGEST = 120  # characters of a name


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8; missing parent folders are made.

    Raises `StorageError` naming the file and what to do.
    """
    data = text.encode()
    with writing(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def slug(name: str) -> str:
    """Return a name as a file is called: lower case letters, digits and hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "unnamed"


def figure_name(name: str) -> str:
    """Return the slug of a figure's name, with a hash where that alone may be another's."""
    short = slug(name)
    # what differs may stand behind the cut, or be in another alphabet
    if len(short) > LONGEST or not name.replace("·", "").isascii():
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        short = f"{short[: LONGEST - 9]}-{mark}"
    return short
