"""RESULTS.md: the report as Markdown, a function of the records (and NOTES.md) and nothing else."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.printable import printable
from diffuprompt.report.extension import Figure, Study
from diffuprompt.report.figure_file import is_current, write_files
from diffuprompt.report.load import load_records
from diffuprompt.report.other_sets import OTHER_SETS
from diffuprompt.report.summaries import summary_texts
from diffuprompt.report.tables import markdown_escape, to_markdown
from diffuprompt.report.views import TITLE, Report, SectionView, build_report

NOTES = "NOTES.md"
FIGURES = "figures"


def render_markdown(report: Report, *, notes: str = "", figures: str = FIGURES) -> str:
    """Return the whole document.

    ``notes`` is hand-written Markdown, put after the tables; ``figures`` is the folder of the
    figures as the document sees it.
    """
    parts = [
        f"# {markdown_escape(report.title)}",
        "<!-- Made by `diffuprompt report`: edit NOTES.md beside the records, not this file. -->",
        *(_section(view, figures) for view in report.sections),
    ]
    if notes.strip():
        parts.append(f"## Commentary\n\n{notes.strip()}")
    parts.append("## Cost\n\n" + to_markdown(report.cost).strip())
    if report.environment:
        lines = [f"- {markdown_escape(k)}: {markdown_escape(v)}" for k, v in report.environment]
        parts.append("Environment of the records:\n\n" + "\n".join(lines))
    if report.commands:
        parts.append("## Commands\n\n" + shell_block(report.commands))
    parts.append(
        "## How the numbers are made\n\n"
        + "\n".join(f"- {markdown_escape(note)}" for note in report.notes)
    )
    return "\n\n".join(parts) + "\n"


def shell_block(lines: Sequence[str]) -> str:
    """Return a block of shell lines, fenced by more backticks than stand in it."""
    text = "\n".join(printable(line) for line in lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"


def _section(view: SectionView, figures: str) -> str:
    parts = [f"## {markdown_escape(view.section.setting.title)}"]
    if view.verdicts:
        parts.append("\n".join(f"- {markdown_escape(verdict)}" for verdict in view.verdicts))
    parts.append(to_markdown(view.headline).strip())
    if view.other_sets is not None:
        parts += [f"### {OTHER_SETS}", to_markdown(view.other_sets).strip()]
    for part in view.parts:
        parts.append(f"### {markdown_escape(part.heading)}")
        if part.figure is not None:
            alt, name = markdown_escape(part.figure.alt), part.figure.name
            parts.append(f"![{alt}]({figures}/{name}.svg)")
        parts.append(to_markdown(part.table).strip())
    if view.differences is not None:
        parts += ["### Paired differences", to_markdown(view.differences).strip()]
    if view.confidence is not None:
        parts += ["### Confidence", to_markdown(view.confidence).strip()]
    return "\n\n".join(parts)


def read_notes(paths: Sequence[Path]) -> str:
    """Return the hand-written ``NOTES.md`` files directly inside the given folders, in order."""
    files = [path / NOTES for path in paths if (path / NOTES).is_file()]
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)


def make_results(
    paths: Sequence[Path],
    *,
    studies: Sequence[Study] = (),
    title: str = TITLE,
    figures: str = FIGURES,
) -> str:
    """Return RESULTS.md for the records under ``paths``; raises `DataError` as the loader does."""
    report = build_report(load_records(paths), studies=studies, title=title)
    return render_markdown(report, notes=read_notes(paths), figures=figures)


def write(
    paths: Sequence[Path],
    results_md: Path,
    *,
    studies: Sequence[Study] = (),
    title: str = TITLE,
) -> tuple[Path, ...]:
    """Write RESULTS.md, its figures, the studies' pages and every summary that lies beside records.

    Raises:
        DataError: as the loader does, or a summary is of no study of ``studies``.
        ConfigError: there are figures to draw and matplotlib is not installed.
    """
    return write_files(_files(paths, results_md, studies, title))


def check(
    records: Path | Sequence[Path],
    results_md: Path,
    *,
    studies: Sequence[Study] = (),
    title: str = TITLE,
) -> None:
    """Raise `DataError` with a unified diff unless the files are exactly what the records make.

    Looks at the document, at every summary among the records, and at the numbers behind figures.
    """
    paths = [records] if isinstance(records, Path) else list(records)
    where = " ".join(str(path) for path in paths)
    again = f"rewrite it with `diffuprompt report {where} --write {results_md}`"
    if not results_md.is_file():
        raise DataError(f"{results_md} does not exist; make it with --write {results_md}")
    files = _files(paths, results_md, studies, title)
    for path, text in files.items():
        if isinstance(text, str):
            _same(path, text, again)
    for path, figure in files.items():
        if not isinstance(figure, str) and not is_current(path, figure):
            raise DataError(f"{path} is missing or shows other numbers than the records; {again}")


def _files(
    paths: Sequence[Path], results_md: Path, studies: Sequence[Study], title: str
) -> dict[Path, str | Figure]:
    """Return everything that is made of the records under ``paths``.

    Where the document is a study's own page, the engine makes none.
    """
    theirs: dict[Path, str | Figure] = {}
    for study in studies:
        theirs |= study.files(paths)
    theirs |= summary_texts(paths, studies)
    if results_md.resolve() in {path.resolve() for path in theirs}:
        return theirs
    report = build_report(load_records(paths), studies=studies, title=title)
    folder = _figures_of(paths)
    link = _link(folder, results_md)
    text = render_markdown(report, notes=read_notes(paths), figures=link)
    drawn = {folder / f"{figure.name}.svg": figure for figure in _figures(report)}
    return {results_md: text, **drawn, **theirs}


def _same(path: Path, expected: str, again: str) -> None:
    if not path.is_file():
        raise DataError(f"{path} does not exist; {again}")
    written = path.read_text(encoding="utf-8")
    if written == expected:
        return
    diff = difflib.unified_diff(
        written.splitlines(),
        expected.splitlines(),
        fromfile=str(path),
        tofile="made from the records",
        lineterm="",
    )
    raise DataError(f"{path} is not what the records say; {again}\n" + "\n".join(diff))


def _figures(report: Report) -> list[Figure]:
    parts = [part for view in report.sections for part in view.parts]
    return [part.figure for part in parts if part.figure is not None]


def _figures_of(paths: Sequence[Path]) -> Path:
    """Figures lie beside the records, in the first folder given."""
    return next((path for path in paths if path.is_dir()), Path()) / FIGURES


def _link(folder: Path, results_md: Path) -> str:
    return Path(os.path.relpath(folder, results_md.parent)).as_posix()
