"""What the grounding study adds to a report: a page of its own beside its records."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.record import Record
from diffuprompt.report import (
    FIGURES,
    Appendix,
    Comparison,
    Extras,
    Figure,
    GroundingSource,
    Section,
    SectionPart,
    load_grounding_records,
    read_notes,
    write_files,
)
from diffuprompt.studies.grounding.figure import RecallFigure
from diffuprompt.studies.grounding.findings import find, is_of_study
from diffuprompt.studies.grounding.gallery_page import shown_galleries
from diffuprompt.studies.grounding.own_runs import plain_tables
from diffuprompt.studies.grounding.page import make_page, page_of
from diffuprompt.studies.grounding.summary import SCHEMA, make_summary

PAGE, FILE, OF_RUN = "RESULTS.md", "summary.json", "record.json"


class GroundingReport:
    """A `report.extension.Study` whose records are of the task grounding."""

    notes: tuple[str, ...] = ()
    summary_schema: str = SCHEMA

    def extras(self, section: Section, comparisons: Sequence[Comparison]) -> Extras:
        """Return nothing: sections are of classification."""
        return Extras()

    def across(self, sections: Sequence[Section]) -> Sequence[tuple[str, SectionPart]]:
        """Return nothing: it has nothing to say over several sections."""
        return ()

    def appendix(self, records: Sequence[Record]) -> Appendix | None:
        """Return nothing: the records are of classification."""
        return None

    def summary(self, paths: Sequence[Path]) -> str:
        """Return the summary as JSON text; raises `DataError` where no record is of grounding."""
        sources = load_grounding_records(paths)
        if not sources:
            where = ", ".join(map(str, paths))
            raise DataError(f"{where}: no record of the task grounding")
        return _text(make_summary(sources))

    def files(self, paths: Sequence[Path]) -> Mapping[Path, str | Figure]:
        """Return the page and its figure for every folder under ``paths`` that has records.

        Folders of single runs have none. Raises `DataError` as the loader and `findings.find` do.
        """
        folders: dict[Path, list[GroundingSource]] = defaultdict(list)
        for source in load_grounding_records(paths):
            if source.path.name != OF_RUN:
                folders[source.path.parent].append(source)
        out: dict[Path, str | Figure] = {}
        for folder, sources in folders.items():
            found = find(sources)
            figure = RecallFigure(found=found)
            examples = shown_galleries(folder, sources)
            notes = read_notes([folder])
            out[folder / PAGE] = page_of(found, sources, notes=notes, examples=examples)
            out[folder / FIGURES / f"{figure.name}.svg"] = figure
        return out


def grounding_page(paths: Sequence[Path]) -> str:
    """Return the page of all records of grounding under ``paths``, of single runs too.

    Where one is none of the study's, such as a run on a user's own pictures, a plain table of all.
    Raises `DataError` as the loader and `findings.find` do.
    """
    sources = load_grounding_records(paths)
    return make_page(sources) if all(map(is_of_study, sources)) else plain_tables(sources)


def write_grounding_results(folder: Path) -> tuple[Path, ...]:
    """Write page, figure and summary of the records in ``folder`` into it; return their paths.

    Raises:
        DataError: as the loader and `findings.find` do, or the folder has no record of grounding.
        ConfigError: matplotlib is not installed.
    """
    study = GroundingReport()
    return write_files({**study.files([folder]), folder / FILE: study.summary([folder])})


def _text(values: Mapping[str, object]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
