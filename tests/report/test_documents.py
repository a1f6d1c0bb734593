"""RESULTS.md, the HTML page, the files and the verb."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.report import html
from diffuprompt.report.load import load_records
from diffuprompt.report.markdown import check, make_results
from diffuprompt.report.publish import parse_formats, publish
from diffuprompt.report.views import Report, build_report
from diffuprompt.studies.reported import STUDIES

from . import factory

HOSTILE = r"<script>alert('&', $\nomacro$, |*_`)</script>"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return factory.write(tmp_path, factory.study())


@pytest.fixture
def report(results: Path) -> Report:
    return build_report(load_records([results]), studies=STUDIES)


class Strict(HTMLParser):
    """Collect tags and check that they close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_results_are_a_function_of_records_and_notes_only(results: Path, tmp_path: Path) -> None:
    (results / "NOTES.md").write_text("Measured by hand: **careful**.\n")
    first = make_results([results])
    moved = tmp_path / "elsewhere"
    results.rename(moved)
    assert make_results([moved]) == first
    assert "Measured by hand: **careful**." in first
    assert "for seed in 1 2 3; do diffuprompt train" in first
    assert "/home/" not in first
    assert re.search(r"\| CoCoOp \+ diffusion \| [\d.]+ ± [\d.]+ \| \*\*[\d.]+\*\*", first)


def test_check_passes_and_then_shows_what_changed(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    with pytest.raises(DataError, match="does not exist"):
        check(results, page)
    page.write_text(make_results([results]))
    check(results, page)
    page.write_text(page.read_text().replace("| CoOp |", "| CoOp (ours) |"))
    with pytest.raises(DataError, match=r"(?m)^-\| CoOp \(ours\)") as caught:
        check(results, page)
    assert re.search(r"(?m)^\+\| CoOp \|", str(caught.value))


def test_page_is_one_well_formed_file_without_outside_resources(report: Report) -> None:
    example = html.Example(png=b"\x89PNG", title="one", guesses=(("cat", 0.9), ("dog", 0.1)))
    page = html.render_page(report, examples=[example])
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert [tag for tag, _ in parser.seen].count("svg") == 2
    assert not {tag for tag, _ in parser.seen} & {"script", "link", "iframe"}
    for _, attrs in parser.seen:
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert "data:image/png;base64,iVBORw==" in page


def test_page_is_the_same_twice(report: Report) -> None:
    assert html.render_page(report) == html.render_page(report)


def test_figures_are_xml_with_their_own_ids_and_no_date(report: Report) -> None:
    page = html.render_page(report)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    ids = []
    for figure in figures:
        root = ET.fromstring(figure)
        ids.append({element.get("id") for element in root.iter()} - {None})
        assert "currentColor" in figure
        assert "date" not in figure.lower()
    assert all(ids)
    assert not ids[0] & ids[1]


def test_everything_is_escaped(tmp_path: Path) -> None:
    record = factory.record(dataset=HOSTILE, backbone=HOSTILE, learner=HOSTILE, command=HOSTILE)
    record = record.model_copy(
        update={"environment": {HOSTILE: HOSTILE}, "config": {HOSTILE: [HOSTILE]}}
    )
    (tmp_path / "x.json").write_text(record.model_dump_json())
    hostile = build_report(load_records([tmp_path]), title=HOSTILE)
    example = html.Example(png=b"", title=HOSTILE, guesses=((HOSTILE, 1.0),))
    page = html.render_page(hostile, examples=[example])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_files_are_written_in_the_formats_asked_for(report: Report, tmp_path: Path) -> None:
    written = publish(report, tmp_path / "out", formats=parse_formats("csv, md"))
    assert sorted(path.name for path in written) == [
        "accuracy.csv", "confidence.csv", "cost.csv", "differences.csv", "report.md",
        "scenes-scenes-clip-base-to-new-16-shots-diffusion-plugged-into-each-learner.csv",
    ]  # fmt: skip
    assert len((tmp_path / "out" / "accuracy.csv").read_text().splitlines()) == 11
    (tex,) = publish(report, tmp_path / "out", formats=["tex"])
    text = tex.read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 5


def test_an_unknown_format_names_the_near_miss() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'html'"):
        parse_formats("md,htm")
    with pytest.raises(ConfigError, match="no report format"):
        parse_formats(" , ")


def test_page_without_matplotlib_says_what_to_install(
    report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"diffuprompt\[report\]"):
        publish(report, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_room_imports_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, pkgutil, importlib, diffuprompt.report as r\n"
        "[importlib.import_module(f'diffuprompt.report.{m.name}')"
        " for m in pkgutil.iter_modules(r.__path__)]\n"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_verb_writes_checks_and_prints(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffuprompt.cli.report import Args, run

    page = tmp_path / "RESULTS.md"
    assert run(Args(paths=(results,), write=page)) == 0
    assert run(Args(paths=(results,), check=page)) == 0
    capsys.readouterr()
    assert run(Args(paths=(results,))) == 0
    out = capsys.readouterr().out
    assert "CoCoOp + diffusion" in out
    assert "is above CoCoOp's own prompts" in out
    with pytest.raises(ConfigError, match="at least one folder"):
        run(Args())
