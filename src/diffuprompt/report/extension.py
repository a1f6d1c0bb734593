"""What a study adds to a report: the one seam between the engine and papers' tables.

The engine knows records, tables, pairs, intervals and figures of any study. What one paper shows of
them is a `Study`; the command line passes those that it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffuprompt.record import Record
from diffuprompt.report.aggregate import Section
from diffuprompt.report.compare import Comparison
from diffuprompt.report.tables import Table


class Figure(Protocol):
    """A figure that has a file of its own."""

    @property
    def name(self) -> str:
        """The file's name without suffix."""

    @property
    def alt(self) -> str:
        """What it shows, in one line."""

    @property
    def numbers(self) -> dict[str, Any]:
        """All that is drawn, as JSON: a file with the hash of just this needs no new drawing."""

    def draw(self) -> str:
        """Return an ``<svg>`` element; raises `ConfigError` when matplotlib is not installed."""


@dataclass(frozen=True, kw_only=True)
class SectionPart:
    """One headed piece of a section: a table, and maybe a figure above it."""

    heading: str
    table: Table
    figure: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a study adds to one section.

    ``verdicts`` are sentences that take the place of the engine's own; None leaves those. ``page``
    names the page that parts and sentences stand on where a report is written as pages, such as
    "prompt-diffusion"; empty leaves them with their section, where ``beside`` always stands: parts
    that are not about what that page is about. ``covers_other_sets`` says that they
    compare methods on other test sets than the job's own, so that the engine does not.
    """

    parts: tuple[SectionPart, ...] = ()
    verdicts: tuple[str, ...] | None = None
    page: str = ""
    beside: tuple[SectionPart, ...] = ()
    covers_other_sets: bool = False


@dataclass(frozen=True, kw_only=True)
class Appendix:
    """A section of the page after the main ones; SVG text by its title, and what it shows."""

    heading: str
    figures: dict[str, str]
    caption: str


class Study(Protocol):
    """What a report shows of one study, besides what it shows of any records.

    Attributes:
        notes: how its numbers are made, one sentence or more each; under the engine's own.
        summary_schema: ``schema_name`` of its summaries, files among the records that are made of
            them; its part before the slash ends with "-summary".
    """

    notes: tuple[str, ...]
    summary_schema: str

    def extras(self, section: Section, comparisons: Sequence[Comparison]) -> Extras:
        """Return the parts of a section; ``comparisons`` are the engine's, of its rows."""

    def across(self, sections: Sequence[Section]) -> Sequence[tuple[str, SectionPart]]:
        """Return protocol and part of what is over several sections, such as averages."""

    def appendix(self, records: Sequence[Record]) -> Appendix | None:
        """Return a section of the page, or None; raises `ConfigError` without matplotlib."""

    def summary(self, paths: Sequence[Path]) -> str:
        """Return the text of a summary of the records under ``paths``.

        Raises `DataError` as the loader does, or when they hold nothing of this study.
        """

    def files(self, paths: Sequence[Path]) -> Mapping[Path, str | Figure]:
        """Return pages of its own and their figures, which lie among the records of ``paths``.

        Raises `DataError` as the loader does.
        """
