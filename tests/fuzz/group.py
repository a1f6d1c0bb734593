"""What a group of fuzz examples is, and how one example is judged."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypothesis.strategies import SearchStrategy

from diffuprompt.errors import DiffupromptError

Kind = Literal["read", "refused", "traceback", "silent", "unnamed", "wrongly refused"]
FAULTS: tuple[Kind, ...] = ("traceback", "silent", "unnamed", "wrongly refused")


class Silent(AssertionError):
    """Something that is known to be wrong was taken without a word."""


class WronglyRefused(AssertionError):
    """Something that is known to be right was refused."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One input.

    Attributes:
        what: the input itself, for the check and for the report of a fault.
        names: an error must name one of these: files, fields, options.
        is_wrong: known to be wrong: must be refused.
        is_right: known to be right: must be taken.
    """

    what: Any
    names: tuple[str, ...] = ()
    is_wrong: bool = False
    is_right: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """A reader and inputs for it.

    Attributes:
        name: of the group.
        material: makes what all examples start from, once per process, in an empty folder.
        examples: the strategy, given the material.
        check: reads one example in an empty folder; raises one of our errors, or `Silent` where
            the result is not right.
    """

    name: str
    material: Callable[[Path], Any]
    examples: Callable[[Any], SearchStrategy[Example]]
    check: Callable[[Any, Example, Path], object]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one example ended."""

    kind: Kind
    text: str
    seconds: float


def judge(group: Group, material: Any, example: Example, folder: Path) -> Verdict:
    """Check one example and say how it ended; only exceptions that end a process pass through."""
    start = time.monotonic()

    def verdict(kind: Kind, text: str = "") -> Verdict:
        return Verdict(kind=kind, text=text, seconds=time.monotonic() - start)

    try:
        group.check(material, example, folder)
    except Silent as fault:
        return verdict("silent", str(fault))
    except WronglyRefused as fault:
        return verdict("wrongly refused", str(fault))
    except DiffupromptError as error:
        message = str(error)
        if example.is_right:
            return verdict("wrongly refused", message)
        if example.names and not any(name in message for name in example.names):
            return verdict("unnamed", f"{message}\n(expected one of {example.names})")
        return verdict("refused", type(error).__name__)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of a Rust library is no Exception
        return verdict("traceback", traceback.format_exc(limit=-8))
    if example.is_wrong:
        return verdict("silent", "known to be wrong, and taken")
    return verdict("read")
