"""A report beside the published numbers: `diffuprompt report --against paper`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffuprompt.errors import DataError
from diffuprompt.record import Record, Variant
from diffuprompt.report import (
    METRICS,
    OWN,
    Appendix,
    Cell,
    Comparison,
    Extras,
    Figure,
    Number,
    Row,
    Section,
    SectionPart,
    Table,
    learner_name,
)
from diffuprompt.studies.published.numbers import (
    AVERAGE,
    BASE_TO_NEW,
    PARTS,
    SHOTS,
    Key,
    Printed,
    published,
)

DIFFUSION = "diffusion"
HEADING = "Against the published numbers"
ALL = "all"  # the part of the classes that targets are scored on
CAPTION = (
    "Published: as printed for CLIP ViT-B/16 in {where}. Ours: {backbone}, mean over seeds; with "
    "another backbone or recipe a difference says nothing about either.{notes}"
)
AUTHORS = "authors"
PAPER, OWN_PAPERS = "arXiv 2410.20164", "the methods' own papers (authors)"


@dataclass(kw_only=True)
class AgainstPaper:
    """A `report.extension.Study` that puts ours, published and the difference side by side.

    ``is_full`` shows published rows that we have none of, too.
    """

    is_full: bool = False
    notes: tuple[str, ...] = ()
    summary_schema: str = "diffuprompt.published-summary/1"

    def extras(self, section: Section, comparisons: Sequence[Comparison]) -> Extras:
        """Return a table of what is published for the section's data set, protocol and shots."""
        keys = _relevant(section)
        ours = {key: _ours(section, key) for key in keys}
        table = self._table(keys, ours, section.setting.backbone)
        return Extras(parts=(SectionPart(heading=HEADING, table=table),) if table else ())

    def across(self, sections: Sequence[Section]) -> Sequence[tuple[str, SectionPart]]:
        """Return the published averages of base to new beside ours, where ours has all data sets.

        Targets have their average in the section of their source.
        """
        mine = [
            s for s in sections if (s.setting.protocol, s.setting.shots) == (BASE_TO_NEW, SHOTS)
        ]
        numbers = {key: n for key, n in published().items() if key.protocol == BASE_TO_NEW}
        names = {key.dataset for key in numbers} - {AVERAGE}
        keys = {key: number for key, number in numbers.items() if key.dataset == AVERAGE}
        out = []
        for backbone in sorted({section.setting.backbone for section in mine}):
            of = [s for s in mine if s.setting.backbone == backbone and s.setting.dataset in names]
            if len(of) == len(names):
                table = self._table(keys, {key: _averaged(of, key) for key in keys}, backbone)
                heading = f"{HEADING}: average over {len(names)} data sets · {backbone}"
                out += [(BASE_TO_NEW, SectionPart(heading=heading, table=table))] if table else []
        return out

    def appendix(self, records: Sequence[Record]) -> Appendix | None:
        """Return nothing: all stands in the sections."""
        return None

    def summary(self, paths: Sequence[Path]) -> str:
        """Raise `DataError`: there are no summaries of comparisons."""
        raise DataError("a comparison with published numbers has no summary; give --out or --write")

    def files(self, paths: Sequence[Path]) -> Mapping[Path, str | Figure]:
        """Return nothing: all stands in the sections."""
        return {}

    def _table(
        self, keys: Mapping[Key, Printed], ours: Mapping[Key, float | None], backbone: str
    ) -> Table | None:
        kept = [key for key in keys if ours[key] is not None or self.is_full]
        if not any(ours[key] is not None for key in keys):
            return None
        notes: dict[str, int] = {}
        several = len({key.dataset for key in keys}) > 1
        rows = tuple(_row(key, keys[key], ours[key], notes, several) for key in kept)
        listed = "".join(f" {number}: {text}." for text, number in notes.items())
        sources = ", ".join(sorted({keys[key].source for key in kept} - {AUTHORS}))
        paper = [f"{PAPER} ({sources})"] if sources else []
        paper += [OWN_PAPERS] if any(keys[key].source == AUTHORS for key in kept) else []
        return Table(
            columns=(
                "Method",
                *(["Test set"] if several else ["Classes"]),
                *("Ours", "Published", "Difference", "Source", "Misprint"),
            ),
            rows=rows,
            caption=CAPTION.format(where=" and in ".join(paper), backbone=backbone, notes=listed),
        )


def _row(
    key: Key, printed: Printed, ours: float | None, notes: dict[str, int], several: bool
) -> tuple[Cell, ...]:
    note = ""
    if printed.misprint:
        note = str(notes.setdefault(printed.misprint, len(notes) + 1))
    difference = None if ours is None else Number(value=ours - printed.value, signed=True)
    plugged = " + diffusion" if key.generator == DIFFUSION else ""
    return (
        f"{learner_name(key.learner)}{plugged}",
        key.dataset if several else METRICS.get(key.part, key.part),
        None if ours is None else Number(value=ours),
        Number(value=printed.value),
        difference,
        printed.source,
        note,
    )


def _relevant(section: Section) -> dict[Key, Printed]:
    """Return what is published of a section: its own data set, or its source's targets."""
    setting = section.setting
    if setting.protocol == BASE_TO_NEW:
        mine = (BASE_TO_NEW, SHOTS)
        return {
            key: number
            for key, number in published().items()
            if (key.protocol, key.shots) == mine == (setting.protocol, setting.shots)
            and key.dataset == setting.dataset
        }
    sources = {key.protocol: key.dataset for key in _sources()}
    if sources.get(setting.protocol) != setting.dataset:
        return {}
    mine = (setting.protocol, setting.shots)
    return {k: number for k, number in published().items() if (k.protocol, k.shots) == mine}


def _sources() -> Iterator[Key]:
    """Yield the first number of each table of targets: that of its source."""
    seen: set[str] = set()
    for key in published():
        if key.part not in PARTS and key.protocol not in seen:
            seen.add(key.protocol)
            yield key


def _ours(section: Section, key: Key) -> float | None:
    """Return our mean of what a published number is of."""
    variant = OWN if key.generator == "none" else Variant.generated(key.generator)
    rows = (r for r in section.main if (r.learner, r.variant) == (key.learner, variant))
    row = next(rows, None)
    if row is None:
        return None
    if key.part in PARTS:
        return row.mean(key.part)
    if key.dataset == section.setting.dataset:
        return row.mean(ALL)
    if key.dataset != AVERAGE:
        return _elsewhere(row, key.dataset)
    names = {k.dataset for k in _relevant(section)} - {AVERAGE, section.setting.dataset}
    values = [_elsewhere(row, name) for name in sorted(names)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _averaged(sections: Sequence[Section], key: Key) -> float | None:
    """Return our average over data sets; H is of the averages, as the field publishes it."""
    if key.part == "h":
        base, new = (_averaged(sections, replace(key, part=part)) for part in ("base", "new"))
        return None if base is None or new is None else 2 * base * new / max(base + new, 1e-9)
    values = [_ours(section, key) for section in sections]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _elsewhere(row: Row, dataset: str) -> float | None:
    found = row.elsewhere.get((dataset, ALL), {})
    if not set(row.seeds) <= found.keys():
        return None
    return float(np.mean([found[seed] for seed in row.seeds]))
