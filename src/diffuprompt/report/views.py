"""The tables and sentences of a report, made of sections; all writers share them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from diffuprompt.report.aggregate import Section, build_sections
from diffuprompt.report.answers import leader, open_world
from diffuprompt.report.commands import generic_commands
from diffuprompt.report.compare import RESAMPLES, Comparison, default_comparisons, difference
from diffuprompt.report.confidence import calibration_part, confidence_table
from diffuprompt.report.cost_table import COST_CAPTION, COSTS, cost_cells, cost_table
from diffuprompt.report.costs import timed_on
from diffuprompt.report.density import density_parts
from diffuprompt.report.differences import differences_table
from diffuprompt.report.extension import Extras, Figure, SectionPart, Study
from diffuprompt.report.layouts import Layout, make_layouts
from diffuprompt.report.load import Source
from diffuprompt.report.names import METRICS, OWN, is_control, is_oracle, metric_name, row_order
from diffuprompt.report.other_sets import other_sets_table
from diffuprompt.report.robustness import robustness_parts
from diffuprompt.report.rows import Row
from diffuprompt.report.tables import Cell, Number, Table, plain
from diffuprompt.report.target_differences import target_differences, target_part, target_sentence
from diffuprompt.report.time_figure import time_part

TITLE = "diffuprompt results"

NOTES = (
    "Accuracy is top-1 in per cent, recomputed from each record's per-image hits.",
    "± is the population standard deviation (ddof 0) over seeds, as is usual in this field; a row "
    "with one seed has none. Zero-shot is not trained, so a seed changes nothing.",
    "The H column is the harmonic mean of mean base and mean new accuracy (the field's "
    "convention); its ±, and every difference of H, uses each seed's own H, so a difference of H "
    "can deviate from the difference of two H cells by a few hundredths.",
    f"Differences are paired: same seeds, same test images. Their 95 % intervals come from "
    f"{RESAMPLES:,} bootstrap resamples of seeds and of test images (one draw of images for all "
    "seeds, since all seeds score the same images), with a fixed seed. With few seeds the "
    "variation between seeds is underestimated; read the single seeds as well.",
)


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """One section with everything that is shown of it."""

    section: Section
    comparisons: tuple[Comparison, ...]
    headline: Table
    other_sets: Table | None
    extras: tuple[Extras, ...]
    differences: Table | None
    confidence: Table | None
    verdicts: tuple[str, ...]
    findings: tuple[str, ...] = ()  # what the engine says of any section, whatever its study

    @property
    def parts(self) -> tuple[SectionPart, ...]:
        """What was added to the main tables, whichever page it stands on."""
        return tuple(part for e in self.extras for part in (*e.parts, *e.beside))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a page shows; a function of the records and of the studies only."""

    title: str
    sections: tuple[SectionView, ...]
    cost: Table
    commands: tuple[str, ...]
    sources: tuple[Source, ...]
    studies: tuple[Study, ...] = ()
    layouts: tuple[Layout, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """How the numbers are made."""
        return (*NOTES, *(note for study in self.studies for note in study.notes))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All that have a file of their own."""
        parts = [layout.part for layout in self.layouts]
        parts += [part for view in self.sections for part in view.parts]
        return tuple(part.figure for part in parts if part.figure is not None)

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Each key of the records' environments with all its values."""
        values: dict[str, set[str]] = defaultdict(set)
        for source in self.sources:
            for key, value in source.record.environment.items():
                values[key].add(value)
        return tuple((key, ", ".join(sorted(values[key]))) for key in sorted(values))


def build_report(
    sources: Sequence[Source], *, studies: Sequence[Study] = (), title: str = TITLE
) -> Report:
    """Aggregate, compare and tabulate; raises `DataError` when records do not fit together.

    ``studies`` add their parts to the sections, their sentences and their notes.
    """
    sections = build_sections(sources)
    return Report(
        title=title,
        sections=tuple(_view(section, studies) for section in sections),
        cost=cost_table([source.record for source in sources]),
        commands=generic_commands([s.record.command for s in sorted(sources, key=_job_order)]),
        sources=tuple(sources),
        studies=tuple(studies),
        layouts=(*make_layouts(sections), *_layouts_of(studies, sections)),
    )


def _layouts_of(studies: Sequence[Study], sections: Sequence[Section]) -> list[Layout]:
    found = [pair for study in studies for pair in study.across(sections)]
    return [Layout(protocol=protocol, part=part) for protocol, part in found]


def _job_order(source: Source) -> tuple[object, ...]:
    job = source.record.job
    generated = job.generator != "none"
    return (job.dataset, job.backbone, *row_order(job.learner, job.generator, OWN), generated)


def _view(section: Section, studies: Sequence[Study]) -> SectionView:
    comparisons = default_comparisons(section)
    extras = [study.extras(section, comparisons) for study in studies]
    theirs = [e.verdicts for e in extras if e.verdicts is not None]
    told = any(e.covers_other_sets for e in extras)
    differences = () if told else target_differences(section)
    shared = (
        *robustness_parts(section),
        target_part(differences),
        *density_parts(section),
        calibration_part(section),
    )
    own = Extras(parts=tuple(part for part in shared if part is not None))
    timed = time_part(section)
    last = Extras(parts=() if timed is None else (timed,))
    findings = (*leader(section), *open_world(comparisons), *target_sentence(differences))
    return SectionView(
        section=section,
        comparisons=comparisons,
        headline=headline_table(section),
        other_sets=other_sets_table(section),
        extras=(own, *extras, last),
        findings=findings,
        differences=differences_table(comparisons) if comparisons else None,
        confidence=confidence_table(section),
        verdicts=tuple(v for each in theirs for v in each) if theirs else own_verdicts(comparisons),
    )


def headline_table(section: Section) -> Table:
    """One row per method: mean ± std of each measure; the best accuracy is marked."""
    metrics = section.metrics
    cells = {m: _column(section.rows, m) for m in metrics}
    rows = [
        (
            row.name,
            *(cells[m][i] for m in metrics),
            *(cost_cells(row.costs) if not is_control(row.variant) else (None,) * len(COSTS)),
            Number(value=len(row.seeds), digits=0),
        )
        for i, row in enumerate(section.rows)
    ]
    columns = ("Method", *(metric_name(m) for m in metrics), *COSTS, "Seeds")
    return Table(columns=columns, rows=tuple(rows), caption=_headline_caption(section))


def _headline_caption(section: Section) -> str:
    seeds = ", ".join(map(str, section.seeds))
    formula = " H: harmonic mean of mean base and mean new; its ± is of the seeds' own H."
    told = timed_on((row.name, row.costs) for row in section.rows if not is_control(row.variant))
    caption = (
        f"Accuracy in per cent, mean ± population standard deviation (ddof 0); seeds: {seeds}."
        f"{formula if 'h' in section.metrics else ''} Bold: best, oracle aside. {COST_CAPTION}"
    )
    return f"{caption} {told}".rstrip()


def _column(rows: Sequence[Row], metric: str) -> list[Cell]:
    """Return a measure's cells; only accuracies are known to be the better, the higher."""
    means = [row.mean(metric) for row in rows]
    rivals = [
        Number(value=m).head
        for m, row in zip(means, rows, strict=True)
        if m is not None and metric in METRICS and not is_oracle(row.variant)
    ]
    best = max(rivals, key=float, default=None)
    out: list[Cell] = []
    for mean, row in zip(means, rows, strict=True):
        if mean is None:
            out.append(None)
            continue
        is_best = not is_oracle(row.variant) and Number(value=mean).head == best
        out.append(Number(value=mean, spread=row.std(metric), best=is_best))
    return out


def own_verdicts(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """One sentence per comparison with a learner's own prompts."""
    return tuple(verdict(comparison) for comparison in comparisons if comparison.b.variant == OWN)


def verdict(comparison: Comparison) -> str:
    """Say what a comparison says, of H where there is one."""
    metric = "h" if "h" in comparison.intervals else next(iter(comparison.intervals))
    interval = comparison.intervals[metric]
    if interval.low > 0:
        word = "above"
    elif interval.high < 0:
        word = "below"
    else:
        word = "not distinguishable from"
    measure = "H" if metric == "h" else f"{METRICS[metric].lower()} accuracy"
    against = comparison.against
    if comparison.b.variant == OWN:
        against = f"{comparison.b.name}'s own prompts"
    points = plain(difference(interval))
    return f"{comparison.a.name} is {word} {against} in {measure}: {points} points."
