"""What the study under shift adds to a report: its tables and its sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.record import Record
from diffuprompt.report import Appendix, Comparison, Extras, Figure, Section, SectionPart
from diffuprompt.studies.shift.gains import find_shift_gains
from diffuprompt.studies.shift.tables import shift_parts, shift_verdicts

SCHEMA = "diffuprompt.shift-summary/1"
PAGE = "shift"


class ShiftReport:
    """A `report.extension.Study`: whether diffusion helps where test pictures have changed."""

    notes: tuple[str, ...] = ()
    summary_schema: str = SCHEMA

    def extras(self, section: Section, comparisons: Sequence[Comparison]) -> Extras:
        """Return the tables and sentences of a section, if it is of this study."""
        gains = find_shift_gains(section)
        if gains is None:
            return Extras()
        return Extras(
            parts=shift_parts(gains),
            verdicts=shift_verdicts(gains),
            page=PAGE,
            covers_other_sets=True,
        )

    def across(self, sections: Sequence[Section]) -> Sequence[tuple[str, SectionPart]]:
        """Return nothing: it has nothing to say over several sections."""
        return ()

    def appendix(self, records: Sequence[Record]) -> Appendix | None:
        """Return nothing: all it has to show belongs to a section."""
        return None

    def summary(self, paths: Sequence[Path]) -> str:
        """Raise `DataError`: the study has no summary file."""
        raise DataError("the study under shift has no summary; its tables stand in the report")

    def files(self, paths: Sequence[Path]) -> Mapping[Path, str | Figure]:
        """Return nothing: all it has to show stands on the main page."""
        return {}
