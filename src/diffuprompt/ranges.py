"""Which values a setting may have: said once, beside its field; checked and shown from there.

A field says it in its type: ``steps: Annotated[int, Range(1, 1000)]``. `fit` reads a value as that
type or says what was expected, `misfits` looks at all fields of a dataclass, and `allowed` is the
text that help, listings and errors share. Upper ends are generous: they refuse what can only be a
slip of the hand, or would fill a machine's memory, before anything is computed. Loads no torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import unicodedata
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from diffuprompt.errors import ConfigError, near_miss

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SHOWN = 80  # characters of a wrong value that a message repeats


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``; of text its characters, of a list its entries.

    ``above`` leaves ``low`` itself out, ``below`` ``high``.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low, high = _number(self.low), _number(self.high)
        if self.above:
            return f"above {low} and {'below' if self.below else 'up to'} {high}"
        return f"from {low} to {'below ' if self.below else ''}{high}"


COUNT = Range(0, 1_000_000)  # of whole numbers whose field says no more
SHARE = Range(0, 1)
WEIGHT = Range(0, 1_000_000)  # of a loss, a decay, a factor
RATE = Range(0, 1000, above=True)  # of learning
TEXT = Range(0, 1000)
WORDS = Range(1, 1000)  # in characters
TOKENS = Range(0, 1024)  # of a prompt
LAYERS = Range(1, 1024)
TEXTS = Range(1, 1000)
PATH = Range(1, 4096)

# What verbs and jobs have in common.
SHOTS = Range(1, 1_000_000)
MINUTES = Range(0, 100_000, above=True)
FOLDS = Range(2, 100)
SEED = Range(0, 2**63 - 1)
SEVERITY = Range(1, 5)  # of a shift
WORKERS = Range(0, 256)
THREADS = Range(1, 1024)
JOBS = Range(0, 1024)
TEXT_MIB = Range(1, 16 * 2**20)
IMAGE_MIB = Range(0, 16 * 2**20)
NFE = Range(1, 1000)
SAMPLES = Range(1, 1000)
TOP = Range(1, 1_000_000)  # names shown
OVERFIT_STEPS = Range(0, 10_000)  # of overfitting
EPOCHS = Range(0, 100_000)
BATCH = Range(1, 65_536)
SETTING = Range(0, 200)
OVERRIDES = Annotated[tuple[Annotated[str, Range(0, 100_000)], ...], Range(0, 1000)]
NAMES = Annotated[tuple[Annotated[str, PATH], ...], Range(0, 1000)]  # names, paths or texts
DEVICE_NAMES = "auto, cpu, cuda, cuda:N or mps"
DEVICES = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?|mps")


def fit(want: Any, value: Any) -> Any:
    """Return ``value`` as the type ``want``, a field's.

    Whole numbers are taken for numbers and 2.0 for 2, one text for a list of it; nothing else is
    converted: true is no 1.

    Raises:
        ConfigError: it is of another type or out of its range; the message says what was expected.
    """
    kind, limit, optional = _split(want)
    if value is None and optional:
        return None
    found = _as(kind, value)
    if found is None or not _inside(kind, limit, found):
        hint = ""
        if _is_choice(kind) and isinstance(value, str):
            hint = near_miss(value, get_args(kind))
        raise ConfigError(f"expected {allowed(want)}{'.' + hint if hint else ''}")
    return found


def allowed(want: Any) -> str:
    """Return in words which values a field of the type ``want`` may have."""
    kind, limit, optional = _split(want)
    more = ""
    if _is_choice(kind):
        text = f"one of {list(get_args(kind))}"
    elif kind in (int, float):
        text = "a whole number" if kind is int else "a number"
        text += f" {limit}" if limit else ""
    elif kind in (str, Path):
        assert limit is not None
        text = "text" if kind is str else "a path"
        more = f" ({limit} characters, no control characters)"
    elif kind is bool:
        text = "true or false"
    else:
        entry = get_args(kind)[0]
        several = 'texts such as ["a photo of a {}."]' if entry is str else allowed(entry)
        text = f"a list of {several}"
        more = f" ({limit} entries)"
    null = f", or null{_NULL.get(kind, '')}" if optional else ""
    return text + null + more


def shown(value: object) -> str:
    """Return a wrong value as a message repeats it: what it is, but never pages of it."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def misfits(config: DataclassInstance, section: str = "") -> list[str]:
    """Return a line for every field of ``config`` whose value is not allowed, in their order.

    Fields are called ``section.name``, as people type them.
    """
    problems = []
    for name, want in hints(type(config)).items():
        value = getattr(config, name)
        try:
            fit(want, value)
        except ConfigError as error:
            place = f"{section}.{name}" if section else name
            problems.append(f"{place}: got {shown(value)}, {error}")
    return problems


def hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields with what stands beside them, by name."""
    return _hints(kind)


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    assert isinstance(kind, type)
    found = get_type_hints(kind, include_extras=True)
    return {f.name: found[f.name] for f in dataclasses.fields(kind)}


def limits(kind: type) -> dict[str, str]:
    """Return `allowed` for every field of a dataclass, by name."""
    return {name: allowed(want) for name, want in hints(kind).items()}


def range_of(want: Any) -> Range | None:
    """Return the range of a field of the type ``want``, None where it is no number."""
    kind, limit, _ = _split(want)
    return limit if kind in (int, float) else None


_NULL: dict[Any, str] = {int: " to follow another option", str: " for none"}
_DEFAULT: dict[Any, Range] = {int: COUNT, str: TEXT, Path: PATH}


def _split(want: Any) -> tuple[Any, Range | None, bool]:
    """Return the plain type, its range and whether None is a value too."""
    limit = None
    if get_origin(want) is Annotated:
        want, *extra = get_args(want)
        limit = next((item for item in extra if isinstance(item, Range)), None)
    optional = False
    if get_origin(want) in (Union, types.UnionType):
        rest = [kind for kind in get_args(want) if kind is not type(None)]
        optional = len(rest) < len(get_args(want))
        (want,) = rest
    if limit is None:
        limit = TEXTS if get_origin(want) in (list, tuple) else _DEFAULT.get(want)
    return want, limit, optional


def _as(kind: Any, value: Any) -> Any:
    """Return ``value`` as ``kind``, or None where it is of another one."""
    if kind in (int, float):
        return _as_number(kind, value)
    if _is_choice(kind):
        return value if isinstance(value, str) and value in get_args(kind) else None
    if kind is Path:
        return Path(value) if isinstance(value, str | Path) and clean(str(value)) else None
    if get_origin(kind) in (list, tuple):
        entry = get_args(kind)[0]
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            return None
        found = [_as(_split(entry)[0], item) for item in entries]
        fine = all(item is not None and _inside(*_split(entry)[:2], item) for item in found)
        return (list if get_origin(kind) is list else tuple)(found) if fine else None
    if kind is str:
        return value if isinstance(value, str) and clean(value) else None
    return value if isinstance(value, kind) else None


def _as_number(kind: type, value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if kind is int:
        return int(value) if value == int(value) else None
    try:
        return float(value)
    except OverflowError:  # a whole number with hundreds of digits
        return None


def _inside(kind: Any, limit: Range | None, value: Any) -> bool:
    if limit is None or kind is bool or _is_choice(kind):
        return True
    if kind is Path:
        return len(str(value)) in limit
    return (value if kind in (int, float) else len(value)) in limit


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal


def clean(text: str) -> bool:
    """Whether a text can be written as UTF-8 and holds no control characters."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else f"{value:g}"
