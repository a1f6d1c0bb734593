"""RESULTS.md and its pages as files: a function of the records (and NOTES.md) and nothing else."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.report.extension import Figure, Study
from diffuprompt.report.figure_file import figures_by_name, is_current, write_files
from diffuprompt.report.load import load_records
from diffuprompt.report.pages import make_pages, render_index
from diffuprompt.report.render import FIGURES, MADE, render_markdown
from diffuprompt.report.summaries import summary_texts
from diffuprompt.report.views import TITLE, build_report

NOTES = "NOTES.md"
INDEX = "RESULTS.md"
PAGES = Path("docs/results")  # of that index, from the folder that it lies in


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
    """Return all of a report as one document; raises `DataError` as the loader does."""
    report = build_report(load_records(paths), studies=studies, title=title)
    return render_markdown(report, notes=read_notes(paths), figures=figures)


def write(
    paths: Sequence[Path],
    results_md: Path,
    *,
    studies: Sequence[Study] = (),
    title: str = TITLE,
    pages: Path | None = None,
) -> tuple[Path, ...]:
    """Write the index and its pages, figures, studies' pages and summaries beside the records.

    ``pages`` is the folder of the pages, by default `PAGES` beside an index that is called
    `INDEX`, and beside another one a folder that is called as it is, without its suffix.

    Raises:
        DataError: as the loader does, or a summary is of no study of ``studies``.
        ConfigError: there are figures to draw and matplotlib is not installed.
    """
    return write_files(_files(paths, results_md, studies, title, pages))


def check(
    records: Path | Sequence[Path],
    results_md: Path,
    *,
    studies: Sequence[Study] = (),
    title: str = TITLE,
    pages: Path | None = None,
) -> None:
    """Raise `DataError` with a unified diff unless the files are exactly what the records make.

    Looks at the index and its pages, at every summary among the records, and at the numbers behind
    figures; and for pages that an earlier report made and this one would not.
    """
    paths = [records] if isinstance(records, Path) else list(records)
    where = " ".join(str(path) for path in paths)
    again = f"rewrite it with `diffuprompt report {where} --write {results_md}`"
    if not results_md.is_file():
        raise DataError(f"{results_md} does not exist; make it with --write {results_md}")
    files = _files(paths, results_md, studies, title, pages)
    for path, text in files.items():
        if isinstance(text, str):
            _same(path, text, again)
    for path, figure in files.items():
        if not isinstance(figure, str) and not is_current(path, figure):
            raise DataError(f"{path} is missing or shows other numbers than the records; {again}")
    for path in sorted(_folder(results_md, pages).glob("*.md")):
        if path not in files and MADE in path.read_text(encoding="utf-8"):
            raise DataError(f"{path} is of an earlier report, no record makes it now; delete it")


def _files(
    paths: Sequence[Path],
    results_md: Path,
    studies: Sequence[Study],
    title: str,
    pages: Path | None,
) -> dict[Path, str | Figure]:
    """Return everything that is made of the records under ``paths``.

    Where the document is a study's own page, the engine makes none.
    """
    theirs: dict[Path, str | Figure] = {}
    for study in studies:
        theirs |= study.files(paths)
    others = {path: text for path, text in theirs.items() if isinstance(text, str)}
    theirs |= summary_texts(paths, studies)
    if results_md.resolve() in {path.resolve() for path in theirs}:
        return theirs
    report = build_report(load_records(paths), studies=studies, title=title)
    figures = _figures_of(paths)
    named = figures_by_name(report.figures)
    drawn = {figures / f"{name}.svg": figure for name, figure in named.items()}
    folder = _folder(results_md, pages)
    made = make_pages(report, notes=read_notes(paths), figures=_link(figures, folder))
    linked = {_link(path, results_md.parent): text for path, text in others.items()}
    link = _link(folder, results_md.parent)
    index = render_index(report, made, folder=link, others=linked)
    texts = {folder / f"{page.name}.md": page.text for page in made}
    return {results_md: index, **texts, **drawn, **theirs}


def _folder(results_md: Path, pages: Path | None) -> Path:
    """Return the folder of the pages; no two indices beside one another have the same."""
    if pages is not None:
        return pages
    return results_md.parent / (PAGES if results_md.name == INDEX else results_md.stem)


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


def _figures_of(paths: Sequence[Path]) -> Path:
    """Figures lie beside the records, in the first folder given."""
    return next((path for path in paths if path.is_dir()), Path()) / FIGURES


def _link(path: Path, folder: Path) -> str:
    """Return the path as a page in ``folder`` links it."""
    return Path(os.path.relpath(path, folder)).as_posix()
