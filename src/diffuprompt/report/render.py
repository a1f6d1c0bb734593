"""A report as Markdown: the whole of it in one document, and the pieces that pages are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diffuprompt.printable import printable
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.other_sets import OTHER_SETS
from diffuprompt.report.tables import markdown_escape, to_markdown
from diffuprompt.report.views import Report, SectionView

FIGURES = "figures"
MADE = "<!-- Made by `diffuprompt report`: edit NOTES.md beside the records, not this file. -->"


def render_markdown(report: Report, *, notes: str = "", figures: str = FIGURES) -> str:
    """Return the whole document.

    ``notes`` is hand-written Markdown, put after the tables; ``figures`` is the folder of the
    figures as the document sees it.
    """
    parts = [f"# {markdown_escape(report.title)}", MADE]
    parts += part_blocks([layout.part for layout in report.layouts], figures, level=2)
    for view in report.sections:
        said = (*view.findings, *view.verdicts)
        parts += section_blocks(view, figures, parts=view.parts, verdicts=said)
    if notes.strip():
        parts.append(f"## Commentary\n\n{notes.strip()}")
    parts.append("## Cost\n\n" + to_markdown(report.cost).strip())
    if report.environment:
        parts.append("Environment of the records:\n\n" + environment(report))
    if report.commands:
        parts.append("## Commands\n\n" + shell_block(report.commands))
    parts += ["## How the numbers are made", *sentences(report.notes)]
    return "\n\n".join(parts) + "\n"


def environment(report: Report) -> str:
    """Return each key of the records' environments with all its values."""
    return "\n".join(
        f"- {markdown_escape(key)}: {markdown_escape(values)}" for key, values in report.environment
    )


def shell_block(lines: Sequence[str]) -> str:
    """Return a block of shell lines, fenced by more backticks than stand in it."""
    text = "\n".join(printable(line) for line in lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"


def section_blocks(
    view: SectionView, figures: str, *, parts: Sequence[SectionPart], verdicts: Sequence[str]
) -> list[str]:
    """Return one section with the given parts and sentences of those that were added to it."""
    blocks = [heading(view), *sentences(verdicts), to_markdown(view.headline).strip()]
    if view.other_sets is not None:
        blocks += [f"### {OTHER_SETS}", to_markdown(view.other_sets).strip()]
    blocks += part_blocks(parts, figures)
    if view.differences is not None:
        blocks += ["### Paired differences", to_markdown(view.differences).strip()]
    if view.confidence is not None:
        blocks += ["### Confidence", to_markdown(view.confidence).strip()]
    return blocks


def heading(view: SectionView) -> str:
    """Return the heading of a section."""
    return f"## {markdown_escape(view.section.setting.title)}"


def part_blocks(parts: Sequence[SectionPart], figures: str, level: int = 3) -> list[str]:
    """Return headed tables, each with its figure above it."""
    blocks = []
    for part in parts:
        blocks.append(f"{'#' * level} {markdown_escape(part.heading)}")
        if part.figure is not None:
            alt, name = markdown_escape(part.figure.alt), part.figure.name
            blocks.append(f"![{alt}]({figures}/{name}.svg)")
        blocks.append(to_markdown(part.table).strip())
    return blocks


def sentences(lines: Sequence[str]) -> list[str]:
    """Return a list of them as one block, or none."""
    return ["\n".join(f"- {markdown_escape(line)}" for line in lines)] if lines else []
