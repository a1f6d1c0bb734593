"""RESULTS.md: the report as Markdown, a function of the records (and NOTES.md) and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.report.load import load_records
from diffuprompt.report.tables import markdown_escape, to_markdown
from diffuprompt.report.views import METHOD_NOTES, TITLE, Report, SectionView, build_report

NOTES = "NOTES.md"


def render_markdown(report: Report, *, notes: str = "") -> str:
    """Return the whole document; ``notes`` is hand-written Markdown, put after the tables."""
    parts = [
        f"# {markdown_escape(report.title)}",
        "<!-- Made by `diffuprompt report`: edit NOTES.md beside the records, not this file. -->",
        *(_section(view) for view in report.sections),
    ]
    if notes.strip():
        parts.append(f"## Commentary\n\n{notes.strip()}")
    parts.append("## Cost\n\n" + to_markdown(report.cost).strip())
    if report.environment:
        lines = [f"- {markdown_escape(k)}: {markdown_escape(v)}" for k, v in report.environment]
        parts.append("Environment of the records:\n\n" + "\n".join(lines))
    if report.commands:
        parts.append("## Commands\n\n```sh\n" + "\n".join(report.commands) + "\n```")
    parts.append(
        "## How the numbers are made\n\n"
        + "\n".join(f"- {markdown_escape(note)}" for note in METHOD_NOTES)
    )
    return "\n\n".join(parts) + "\n"


def _section(view: SectionView) -> str:
    parts = [f"## {markdown_escape(view.section.setting.title)}"]
    if view.verdicts:
        parts.append("\n".join(f"- {markdown_escape(verdict)}" for verdict in view.verdicts))
    parts.append(to_markdown(view.headline).strip())
    if view.differences is not None:
        parts += ["### Paired differences", to_markdown(view.differences).strip()]
    parts += ["### Confidence", to_markdown(view.confidence).strip()]
    return "\n\n".join(parts)


def read_notes(paths: Sequence[Path]) -> str:
    """Return the hand-written ``NOTES.md`` files directly inside the given folders, in order."""
    files = [path / NOTES for path in paths if (path / NOTES).is_file()]
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)


def make_results(paths: Sequence[Path], *, title: str = TITLE) -> str:
    """Return RESULTS.md for the records under ``paths``; raises `DataError` as the loader does."""
    return render_markdown(build_report(load_records(paths), title=title), notes=read_notes(paths))


def check(records: Path | Sequence[Path], results_md: Path, *, title: str = TITLE) -> None:
    """Raise `DataError` with a unified diff unless the file is exactly what the records make."""
    paths = [records] if isinstance(records, Path) else list(records)
    expected = make_results(paths, title=title)
    if not results_md.is_file():
        raise DataError(f"{results_md} does not exist; make it with --write {results_md}")
    written = results_md.read_text(encoding="utf-8")
    if written == expected:
        return
    diff = difflib.unified_diff(
        written.splitlines(),
        expected.splitlines(),
        fromfile=str(results_md),
        tofile="made from the records",
        lineterm="",
    )
    where = " ".join(str(path) for path in paths)
    raise DataError(
        f"{results_md} is not what the records say; "
        f"rewrite it with `diffuprompt report {where} --write {results_md}`\n" + "\n".join(diff)
    )
