"""Class names: one rule for data sets, ``--classes``, imported checkpoints and artifacts.

Loads no torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import ConfigError

MAX_LENGTH = 300  # characters; the tokenizer's own bound is smaller and belongs to a backbone
MAX_SHOWN = 20
# control, format (zero-width and bidirectional), surrogate (undecodable bytes), line, paragraph
_FORBIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def prompt_name(name: str) -> str:
    """Return the text by which a prompt tells classes apart.

    Models replace "_" by " ", and CLIP's tokenizer brings text to NFC, lower-cases it and collapses
    spaces, so two names that agree here are one class to the text tower.
    """
    text = unicodedata.normalize("NFC", name)
    return " ".join(text.replace("_", " ").split()).lower()


def name_problems(names: Sequence[str]) -> list[str]:
    """Return what is wrong with a list of class names, one line each; empty: nothing.

    Refused are names with nothing left after cleaning, with invisible or undecodable characters,
    of more than 300 characters, and names that `prompt_name` cannot tell apart.
    """
    problems: list[str] = []
    same: dict[str, list[str]] = {}
    for name in names:
        hidden = sorted({char for char in name if unicodedata.category(char) in _FORBIDDEN})
        if hidden:
            shown = ", ".join(f"U+{ord(char):04X}" for char in hidden[:5])
            problems.append(f"class name {short(name)} holds invisible characters ({shown})")
        elif not prompt_name(name):
            problems.append(f"class name {short(name)} is empty")
        elif len(name) > MAX_LENGTH:
            many = f"{len(name)} characters, at most {MAX_LENGTH} are allowed"
            problems.append(f"class name {short(name)} has {many}")
        else:
            same.setdefault(prompt_name(name), []).append(name)
    for text, alike in same.items():
        if len(alike) > 1:
            listed = ", ".join(map(short, alike[:5]))
            problems.append(f"classes {listed} become the same prompt text {short(text)}")
    return problems


def read_names(text: str, option: str = "--classes") -> list[str]:
    """Return the names of "a,b,c", or of "@FILE" with one name a line; "" is an empty list.

    In a file blank lines mean nothing and a comma belongs to the name.

    Raises:
        ConfigError: the file cannot be read, or `name_problems` finds something; all of it at once.
    """
    if not text:
        return []
    source = option
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        source = f"{option}: {path}"
        try:  # utf-8-sig: some editors put a byte order mark in front
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{source}: cannot be read as UTF-8 text ({reason})") from error
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise ConfigError(f"{source}: expected one class name a line, found none")
    else:
        names = [name.strip() for name in text.split(",")]
    problems = name_problems(names)
    if problems:
        more = [f"... and {len(problems) - MAX_SHOWN} more"] if len(problems) > MAX_SHOWN else []
        lines = [f"{source}: {len(problems)} problem(s)", *problems[:MAX_SHOWN], *more]
        raise ConfigError("\n  ".join(lines))
    return names


def short(name: str) -> str:
    """Return a name quoted for a message: control characters escaped, the middle left out."""
    shown = ascii(name) if any(unicodedata.category(c) in _FORBIDDEN for c in name) else repr(name)
    return shown if len(shown) <= 80 else f"{shown[:50]}...{shown[-20:]}"
