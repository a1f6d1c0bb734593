"""What verbs print: names from files are shown on a terminal, never obeyed."""

from __future__ import annotations

from typing import Any, TextIO

from diffuprompt.printable import printable


class Printable:
    """A stream that writes the `printable` form of what it is given."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, and return how much was given."""
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
