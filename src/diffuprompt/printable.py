"""Text from files, as it is shown to people: never obeyed by a terminal, a page or a table."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # tabs and line ends stay
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # what turns text around
    "\ud800-\udfff]"  # bytes of a file name that are no text
)


def printable(text: str) -> str:
    r"""Return a text that only shows.

    What would move or colour a terminal, or turn the text around it, is written out ("\x1b").
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
