"""Settings of methods: frozen dataclasses whose fields say what they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, TypeVar

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.ranges import TOKENS, Range, misfits

Depth = Annotated[int, Range(0, 64)]  # layers from the first on; 0: none
Length = Annotated[int, TOKENS]  # prompts; 0: none
Width = Annotated[int, Range(1, 4096)]
Factor = Annotated[float, Range(0, 1000)]
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set of a method; values out of a field's range are refused, all at once."""

    def __post_init__(self) -> None:
        problems = misfits(self, "method")
        if problems:
            raise ConfigError("; ".join(problems))


Own = TypeVar("Own", bound=Settings)


def changed(defaults: Own, values: Mapping[str, Any], *, method: str) -> Own:
    """Return settings with some values changed; ``method`` is named in the message.

    Raises:
        ConfigError: there is no such setting, or a value is out of its range.
    """
    known = [f.name for f in fields(defaults)]
    unknown = [name for name in values if name not in known]
    if unknown:
        hints = "".join(near_miss(name, known) for name in unknown[:1])
        raise ConfigError(
            f"{method} has no setting {', '.join(map(repr, unknown))}, "
            f"expected some of {', '.join(known) or 'none'}.{hints}"
        )
    return replace(defaults, **values)
