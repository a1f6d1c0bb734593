"""What the plug-in study adds to a report: gains, rivals, sweeps, ablations, and its sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuprompt.record import Record
from diffuprompt.report import Appendix, Comparison, Extras, Figure, Section, SectionPart
from diffuprompt.studies.plug_in.ablations import ablation_parts, setting_parts
from diffuprompt.studies.plug_in.gains import counted_verdicts, find_gains, gains_verdicts
from diffuprompt.studies.plug_in.overfit_figure import overfit_appendix
from diffuprompt.studies.plug_in.rivals import rival_parts
from diffuprompt.studies.plug_in.summary import SCHEMA, summary_text
from diffuprompt.studies.plug_in.sweeps import find_sweeps, sweep_part
from diffuprompt.studies.plug_in.tables import gains_part

NOTES = (
    "Controls show what the gain is made of: regression is one evaluation from pure noise (no "
    "sampling), shuffled pi conditions on another image, noise pi on noise; nearest adds what "
    "overfitting changed for the nearest training image to the image's own prompts, mean adds the "
    "average change. A gain of diffusion counts only above regression and shuffled pi. The oracle "
    "overfits prompts with the test label: an upper bound and no method.",
)

PAGE = "prompt-diffusion"


class PlugInReport:
    """A `report.extension.Study`: what diffusion adds to each learner, against its controls."""

    notes: tuple[str, ...] = NOTES
    summary_schema: str = SCHEMA

    def extras(self, section: Section, comparisons: Sequence[Comparison]) -> Extras:
        """Return the tables of a section, and its sentences: of all learners where it has some."""
        gains, sweeps = find_gains(section, comparisons), find_sweeps(section)
        swept = frozenset(job for sweep in sweeps for job in sweep.jobs)
        if gains is not None and len(gains.each) > 1:
            verdicts = gains_verdicts(gains)
        else:
            verdicts = counted_verdicts(comparisons)
        return Extras(
            parts=(
                *(() if gains is None else (gains_part(gains),)),
                *rival_parts(section, gains),
                *(sweep_part(section, sweep) for sweep in sweeps),
                *ablation_parts(section, swept),
            ),
            beside=setting_parts(section),
            verdicts=verdicts,
            page=PAGE,
        )

    def across(self, sections: Sequence[Section]) -> Sequence[tuple[str, SectionPart]]:
        """Return nothing: it has nothing to say over several sections."""
        return ()

    def appendix(self, records: Sequence[Record]) -> Appendix | None:
        """Return what overfitting changed, where the records say it."""
        return overfit_appendix(records)

    def summary(self, paths: Sequence[Path]) -> str:
        """Return the summary as JSON text; raises `DataError` when no record is of diffusion."""
        return summary_text(paths)

    def files(self, paths: Sequence[Path]) -> Mapping[Path, str | Figure]:
        """Return nothing: all it has to show stands on the main page."""
        return {}
