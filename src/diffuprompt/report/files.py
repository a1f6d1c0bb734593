"""A report's files and their names; loads no torch."""

from __future__ import annotations

import re
from pathlib import Path

from diffuprompt.errors import writing


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
