"""All that is wrong with the annotations of a source, told at once."""

from __future__ import annotations

import reprlib
from pathlib import Path

from diffuprompt.data import short
from diffuprompt.errors import DataError

MOST_SHOWN = 12
MOST_PROBLEMS = 1000  # more are not looked for
LONGEST_ID = 200  # characters


class Problems:
    """Gathers what is wrong with a source.

    Args:
        source: file or folder of annotations, for the message.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._lines: list[str] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lines)

    def add(self, where: str, what: str) -> None:
        """Note that something is wrong with ``where``, such as "annotation 7".

        Raises:
            DataError: this is the thousandth problem.
        """
        self._lines.append(f"{where}: {what}")
        if len(self) >= MOST_PROBLEMS:
            self.refuse()

    def refuse(self) -> None:
        """Do nothing where nothing is wrong.

        Raises:
            DataError: all that was noted, of which a dozen are shown.
        """
        if not self._lines:
            return
        lines = [
            f"{self._source}: {len(self)} problem(s); correct or remove these annotations",
            *self._lines[:MOST_SHOWN],
        ]
        if len(self) > MOST_SHOWN:
            lines.append(f"... and {len(self) - MOST_SHOWN} more")
        raise DataError("\n  ".join(lines))

    def identify(self, where: str, value: object, known: set[str]) -> str | None:
        """Return an id as a text and add it to ``known``; None, and a problem, if it is no good."""
        if not is_id(value):
            self.add(where, f"its id is {shown(value)}; expected a whole number or a text")
            return None
        key = str(value)
        if key in known:
            self.add(f"{where} {short(key)[1:-1]}", "its id stands twice")
            return None
        known.add(key)
        return key


def shown(value: object) -> str:
    """Return a value for a message; it may come from a pickle, and be of any size and depth."""
    if isinstance(value, str):
        return short(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return f"a number of {value.bit_length()} bits"
    try:
        return reprlib.repr(value).encode("ascii", "backslashreplace").decode()[:80]
    except ValueError:  # a long number inside
        return f"a {type(value).__name__}"


def is_id(value: object) -> bool:
    """Whether a value can be an id: a short text, or a whole number of 64 bits."""
    if isinstance(value, str):
        return 0 < len(value) <= LONGEST_ID
    return type(value) is int and abs(value) < 2**63
