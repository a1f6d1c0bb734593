"""Write a report into a folder in the formats asked for."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.report.figure_file import figures_by_name, file_text
from diffuprompt.report.files import slug, write_text
from diffuprompt.report.html_parts import Example
from diffuprompt.report.render import FIGURES, render_markdown
from diffuprompt.report.tables import Table, stack, to_csv, to_latex
from diffuprompt.report.views import Report

Format = Literal["md", "csv", "tex", "html"]
LONGEST = 150  # characters of a file's name
FORMATS: tuple[Format, ...] = get_args(Format)
LABELS = ("dataset", "backbone", "protocol", "shots")  # of a section, in tables over all


def parse_formats(text: str) -> tuple[Format, ...]:
    """Split ``md,csv,tex,html``; raises `ConfigError` naming an unknown one and the near miss."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    chosen = tuple(f for f in FORMATS if f in names)
    for name in names:
        if name not in FORMATS:
            hint = near_miss(name, list(FORMATS)) or f" Expected some of {','.join(FORMATS)}."
            raise ConfigError(f"unknown report format {name!r}.{hint}")
    if not chosen:
        raise ConfigError(f"no report format given; expected some of {','.join(FORMATS)}")
    return chosen


def publish(
    report: Report,
    out: Path,
    *,
    formats: Sequence[Format] = FORMATS,
    notes: str = "",
    examples: Sequence[Example] = (),
) -> tuple[Path, ...]:
    """Write ``report.md``, ``*.csv``, ``tables.tex`` and ``report.html`` and return their paths.

    Raises `ConfigError` when HTML is asked for without matplotlib; nothing is written then.
    """
    files: dict[str, str] = {}
    if "md" in formats:
        files["report.md"] = render_markdown(report, notes=notes)
        for name, figure in figures_by_name(report.figures).items():
            files[f"{FIGURES}/{name}.svg"] = file_text(figure)
    if "csv" in formats:
        files |= {f"{name}.csv": to_csv(table) for name, table in all_tables(report).items()}
    if "tex" in formats:
        files["tables.tex"] = _latex(report)
    if "html" in formats:
        from diffuprompt.report.html import render_page

        files["report.html"] = render_page(report, examples=examples)
    for name, text in files.items():
        write_text(out / name, text)
    return tuple(out / name for name in files)


def all_tables(report: Report) -> dict[str, Table]:
    """Return one table per kind over all sections, whose first columns name the section.

    The parts that studies add have tables of their own, as have averages over data sets.
    """
    views = report.sections
    kinds: dict[str, list[Table | None]] = {
        "accuracy": [view.headline for view in views],
        "other-test-sets": [view.other_sets for view in views],
        "differences": [view.differences for view in views],
        "confidence": [view.confidence for view in views],
    }
    tables: dict[str, Table] = {}
    for name, each in kinds.items():
        found = [(v.section.setting, t) for v, t in zip(views, each, strict=True) if t is not None]
        if found:
            labels = [(s.dataset, s.backbone, s.protocol, str(s.shots)) for s, _ in found]
            tables[name] = stack(labels, LABELS, [table for _, table in found])
    parts = [(layout.protocol, layout.part) for layout in report.layouts]
    parts += [(view.section.setting.title, part) for view in views for part in view.parts]
    for title, part in parts:
        tables[_free(slug(f"{title} {part.heading}")[:LONGEST], tables)] = part.table
    return tables | {"cost": report.cost}


def _free(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: what differs may be longer than files are called."""
    numbered = (f"{name}-{count}" for count in itertools.count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def _latex(report: Report) -> str:
    blocks = ["% needs \\usepackage{booktabs,graphicx}"]
    for layout in report.layouts:
        made = layout.part.table
        text = f"{layout.protocol}: {layout.part.heading}. {made.caption}"
        blocks.append(to_latex(replace(made, caption=text)))
    for view in report.sections:
        title = view.section.setting.title
        parts = [part.table for part in view.parts]
        every = (view.headline, view.other_sets, *parts, view.differences, view.confidence)
        for table in every:
            if table is not None:
                blocks.append(to_latex(replace(table, caption=f"{title}. {table.caption}")))
    return "\n".join([*blocks, to_latex(report.cost)])
