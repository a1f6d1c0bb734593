"""Writing a report's files; loads no torch."""

from __future__ import annotations

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
