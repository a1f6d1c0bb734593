"""Resolved configurations of earlier versions, read as today's; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffuprompt.errors import DataError

# Options that are gone, with the value that switched each of them off, and the last commit that
# carries them out.
GONE: dict[tuple[str, str], tuple[Any, str]] = {
    ("overfit", "episode"): (0, "8f91120"),
    ("overfit", "proximal"): (0.0, "d42a228"),
    ("overfit", "smoothing"): (0.0, "d42a228"),
    ("overfit", "views"): ("own", "1239b99"),
    ("diffusion", "text_tokens"): (0, "b281abf"),
    ("diffusion", "conditioning"): ("tokens", "b281abf"),
}


def upgrade_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that `Resolved.from_json` reads, from any version's.

    Raises:
        DataError: it uses an option that is gone; the message says which version has it.
    """
    out = {k: dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
    used = []
    for (section, key), (off, commit) in GONE.items():
        values = out.get(section)
        if isinstance(values, dict) and key in values:
            value = values.pop(key)
            if value != off:
                used.append(f"{section}.{key}={value} (in diffuprompt 0.1.0 up to commit {commit})")
    if used:
        raise DataError(f"made with options that are gone: {'; '.join(used)}")
    return out
