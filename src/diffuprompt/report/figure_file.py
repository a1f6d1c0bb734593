"""Figures as files of their own, stamped with what they show so that old ones are noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.report.extension import Figure
from diffuprompt.report.files import write_text

INK = "#1f2328"  # of text in a file, which has no page around it to take its colour from
STAMP = "data-sha256"


def file_text(figure: Figure) -> str:
    """Return the figure as an SVG file of its own, stamped with the hash of its numbers.

    Raises `ConfigError` when matplotlib is not installed.
    """
    svg = figure.draw().replace("currentColor", INK)
    stamp = f'<svg {STAMP}="{digest(figure)}" style="background:#ffffff" '
    return svg.replace("<svg ", stamp, 1)


def digest(figure: Figure) -> str:
    """Return a hash of all that is drawn; another version of matplotlib does not change it."""
    return hashlib.sha256(json.dumps(figure.numbers, sort_keys=True).encode()).hexdigest()


def figures_by_name(figures: Iterable[Figure]) -> dict[str, Figure]:
    """Return figures by the names of their files; raises `DataError` where two have one name."""
    out: dict[str, Figure] = {}
    for figure in figures:
        if figure.name in out:
            raise DataError(
                f"two figures are called {figure.name!r}: {out[figure.name].alt!r} and "
                f"{figure.alt!r}; expected names that differ, make a report of fewer records"
            )
        out[figure.name] = figure
    return out


def is_current(path: Path, figure: Figure) -> bool:
    """Whether a file was drawn of just these numbers; needs no matplotlib."""
    return path.is_file() and f'{STAMP}="{digest(figure)}"' in path.read_text(encoding="utf-8")


def write_files(files: Mapping[Path, str | Figure]) -> tuple[Path, ...]:
    """Write texts and figures, all of them or none, and return their paths.

    Raises:
        ConfigError: there are figures to draw and matplotlib is not installed.
        StorageError: as `write_text` does.
    """
    texts = {path: f if isinstance(f, str) else file_text(f) for path, f in files.items()}
    for path, text in texts.items():
        write_text(path, text)
    return tuple(texts)
