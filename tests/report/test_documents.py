"""RESULTS.md, the HTML page, the files and the verb."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from diffuprompt.errors import ConfigError, DataError, StorageError
from diffuprompt.report import html
from diffuprompt.report.load import load_records
from diffuprompt.report.markdown import check, make_results, write
from diffuprompt.report.pages import index_lines, make_pages, render_index
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


def test_two_indices_beside_one_another_have_pages_of_their_own(
    results: Path, tmp_path: Path
) -> None:
    first = set(write([results], tmp_path / "RESULTS.md"))
    second = set(write([results], tmp_path / "OTHER.md"))
    assert tmp_path / "docs" / "results" / "cost.md" in first
    assert tmp_path / "OTHER" / "cost.md" in second
    assert "(OTHER/cost.md)" in (tmp_path / "OTHER.md").read_text()
    assert not [path for path in first & second if path.suffix == ".md"]
    from diffuprompt.cli.report import Args, run

    with pytest.raises(ConfigError, match="--pages: expected --write or --check"):
        run(Args(paths=(results,), pages=tmp_path))
    with pytest.raises(ConfigError, match=r"--format: .* --out"):
        run(Args(paths=(results,), format="csv"))


def test_check_passes_and_then_shows_what_changed(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    with pytest.raises(DataError, match="does not exist"):
        check(results, page)
    write([results], page)
    check(results, page)
    behind = tmp_path / "docs" / "results" / "base-to-new.md"
    right = behind.read_text()
    behind.write_text(right.replace("| CoOp |", "| CoOp (ours) |"))
    with pytest.raises(DataError, match=r"(?m)^-\| CoOp \(ours\)") as caught:
        check(results, page)
    assert re.search(r"(?m)^\+\| CoOp \|", str(caught.value))
    behind.write_text(right)
    (behind.parent / "mine.md").write_text("# Written by hand\n")
    check(results, page)
    (behind.parent / "few-shot.md").write_text(right)
    with pytest.raises(DataError, match=r"few-shot\.md is of an earlier report"):
        check(results, page)


def test_pages_hold_everything_once_and_the_index_links_them(tmp_path: Path) -> None:
    """All tables of the whole document stand on just one page, and notes beside their subject."""
    folder = factory.write(tmp_path, factory.study())
    (folder / "NOTES.md").write_text("### Prompt diffusion\n\nIt helps.\n\n### Odd\n\nRest.\n")
    index = tmp_path / "RESULTS.md"
    write([folder], index, studies=STUDIES)
    pages = {path.stem: path.read_text() for path in (tmp_path / "docs" / "results").glob("*.md")}
    links = re.findall(r"\((docs/results/[a-z-]+\.md)\)", index.read_text())
    assert {Path(link).stem for link in links} == pages.keys()
    assert all((tmp_path / link).is_file() for link in links)
    lines = [line for text in pages.values() for line in text.splitlines()]
    for line in make_results([folder], studies=STUDIES).splitlines():
        if line.startswith("| ") and "---" not in line:
            assert lines.count(line) >= 1, line
    assert "## Commentary\n\nIt helps." in pages["prompt-diffusion"]
    assert "Rest." in pages["how-numbers-are-made"]
    assert "Diffusion plugged into" in pages["prompt-diffusion"]
    assert "Diffusion plugged into" not in pages["base-to-new"]
    said = index.read_text()
    assert "H is highest with CoCoOp + diffusion" in said
    assert "is above CoCoOp's own prompts" in said.partition("[Prompt diffusion]")[2]
    assert len(said.splitlines()) < 40


def test_a_page_of_a_study_is_linked_with_what_it_says_first(report: Report) -> None:
    theirs = {"results/x/RESULTS.md": "# Grounding\n\n## Scenes\n\n- It gains.\n- More.\n"}
    made = make_pages(report, notes="", figures="f")
    index = render_index(report, made, folder="pages", others=theirs)
    assert "## [Grounding](results/x/RESULTS.md)\n\n- **Scenes**: It gains.\n\n" in index
    assert "More." not in index


def test_all_shots_of_a_data_set_are_one_line_of_the_index() -> None:
    said = {
        "birds · clip, 1 shots": ["All is highest with A, 1, of 2 methods. Zero has 0."],
        "birds · clip, 4 shots": ["All is highest with B, 2, of 2 methods. Zero has 0."],
        "fish · clip, 4 shots": ["All is highest with C, 3, of 2 methods. Zero has 0.", "More."],
        "overall": ["A wins."],
    }
    assert index_lines(said) == {
        "birds · clip": "1 shot: All is highest with A, 1, of 2 methods; 4 shots: All is highest "
        "with B, 2, of 2 methods.",
        "fish · clip, 4 shots": "All is highest with C, 3, of 2 methods. Zero has 0. More.",
        "overall": "A wins.",
    }


def test_page_is_one_well_formed_file_without_outside_resources(report: Report) -> None:
    maps, words = {"own": b"\x89MAP"}, ("v1: a (+0.99, 0.23)",)
    guesses = (("cat", 0.9), ("dog", 0.1))
    example = html.Example(png=b"\x89PNG", title="one", guesses=guesses, maps=maps, words=words)
    page = html.render_page(report, examples=[example])
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert [tag for tag, _ in parser.seen].count("svg") == 3
    assert not {tag for tag, _ in parser.seen} & {"script", "link", "iframe"}
    for _, attrs in parser.seen:
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert "data:image/png;base64,iVBORw==" in page
    assert 'alt="own prompts" src="data:image/png;base64,iU1BUA=="' in page
    assert "<li>v1: a (+0.99, 0.23)</li>" in page


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
    example = html.Example(
        png=b"", title=HOSTILE, guesses=((HOSTILE, 1.0),), maps={HOSTILE: b""}, words=(HOSTILE,)
    )
    page = html.render_page(hostile, examples=[example])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_files_are_written_in_the_formats_asked_for(report: Report, tmp_path: Path) -> None:
    written = publish(report, tmp_path / "out", formats=parse_formats("csv, md"))
    assert sorted(path.name for path in written) == [
        "accuracy.csv", "confidence.csv", "cost.csv", "differences.csv", "report.md",
        "scenes-scenes-clip-base-to-new-16-shots-diffusion-plugged-into-each-learner.csv",
        "scenes-scenes-clip-base-to-new-16-shots-h-against-seconds-of-training.csv",
        "time-scenes-scenes-clip-base-to-new-16-shots.svg",
    ]  # fmt: skip
    assert len((tmp_path / "out" / "accuracy.csv").read_text().splitlines()) == 11
    for path in written:
        if path.suffix == ".csv":  # rectangular, with distinct names: what pandas reads as it is
            header, *rows = csv.reader(path.read_text().splitlines())
            assert len(set(header)) == len(header)
            assert {len(row) for row in rows} == {len(header)}
    (tex,) = publish(report, tmp_path / "out", formats=["tex"])
    text = tex.read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 6


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
    assert run(Args(paths=(results,), write=page, pages=tmp_path / "behind")) == 0
    assert "](behind/base-to-new.md)" in page.read_text()
    with pytest.raises(DataError, match=r"RESULTS\.md is not what the records say"):
        run(Args(paths=(results,), check=page))
    capsys.readouterr()
    assert run(Args(paths=(results,))) == 0
    out = capsys.readouterr().out
    assert "CoCoOp + diffusion" in out
    assert "is above CoCoOp's own prompts" in out
    with pytest.raises(ConfigError, match="at least one folder"):
        run(Args())


@pytest.mark.parametrize("generator", ["none", "diffusion"])
@pytest.mark.parametrize("format", ["md,csv,tex,html", "html", "md"])
def test_nothing_but_ablations_is_a_report_too(generator: str, format: str, tmp_path: Path) -> None:
    """`train --setting x` alone, evaluated and reported, ended in a traceback."""
    from diffuprompt.cli.report import Args, run
    from diffuprompt.cli.summary import summary

    records = [
        factory.record(generator=generator, seed=seed, setting=setting)
        for seed in (1, 2)
        for setting in ("x", "overfit.steps=3")
    ]
    results = factory.write(tmp_path, records)
    assert run(Args(paths=(results,), out=tmp_path / "p", format=format)) == 0
    assert run(Args(paths=(results,))) == 0
    shown = summary(load_records([results]))
    assert "· x" in shown
    assert "· overfit.steps=3" in shown
    report = build_report(load_records([results]), studies=STUDIES)
    (view,) = report.sections
    assert not any("on average over" in verdict for verdict in view.verdicts)
    for comparison in view.comparisons:
        assert comparison.a.setting == comparison.b.setting


REORDERING = "safe\u202egpj.exe\u202c\u2066x\u2069"


def test_texts_of_records_cannot_reorder_or_widen_the_page(tmp_path: Path) -> None:
    long = "n" * 900
    records = [factory.record(dataset=REORDERING, backbone=long, setting="", command=REORDERING)]
    (tmp_path / "x.json").write_text(records[0].model_dump_json())
    report = build_report(load_records([tmp_path]), studies=STUDIES, title=REORDERING)
    example = html.Example(png=b"", title=REORDERING, guesses=((REORDERING, 1.0),))
    page = html.render_page(report, examples=[example])
    assert not set(page) & set("\u202e\u202c\u2066\u2069")
    assert r"safe\u202egpj.exe" in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert re.search(r"body \{[^}]*overflow-wrap: anywhere", style)
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", style)
    assert re.search(r"pre \{[^}]*white-space: pre-wrap", style)
    assert "unicode-bidi: isolate" in style
    assert re.search(r"\.scroll td:first-child \{[^}]*position: sticky; left: 0", style)
    assert "@media (max-width: 40rem)" in style
    tables = page.count("<table>")
    assert tables == page.count('<div class="scroll"><table>') > 0
    for path in publish(report, tmp_path / "out", formats=parse_formats("md,csv,tex,html")):
        text = path.read_text(encoding="utf-8")
        assert not set(text) & set("\u202e\u202c\u2066\u2069")


def test_a_command_cannot_leave_its_block(tmp_path: Path) -> None:
    hostile = "echo\n```\n# <script>alert(1)</script>\n````"
    (tmp_path / "x.json").write_text(factory.record(command=hostile).model_dump_json())
    text = make_results([tmp_path])
    block = text.partition("## Commands")[2]
    fence = block.split()[0].removesuffix("sh")
    assert len(fence) > max(map(len, re.findall("`+", hostile)))
    assert block.count(fence) == 2


@pytest.mark.parametrize("kind", ["file", "closed", "long", "full"])
def test_a_report_that_cannot_be_written_names_the_file(
    kind: str, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("")
    elif kind == "closed":
        monkeypatch.setattr(Path, "mkdir", failing(PermissionError(13, "Permission denied")))
    elif kind == "long":
        out = tmp_path / ("o" * 300)
    else:
        monkeypatch.setattr(Path, "write_bytes", failing(OSError(28, "No space left on device")))
    with pytest.raises(StorageError) as caught:
        publish(report, out, formats=parse_formats("md"))
    assert str(out / "report.md") in str(caught.value)
    assert ";" in str(caught.value)


def failing(error: OSError) -> object:
    def fail(*args: object, **more: object) -> None:
        raise error

    return fail


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["L" * 900, "a\u202ec\u2066d", "x<&>$y$"])
def test_names_of_any_kind_are_drawn(name: str, tmp_path: Path) -> None:
    record = factory.record(learner=name, setting="")
    (tmp_path / "x.json").write_text(record.model_dump_json())
    page = html.render_page(build_report(load_records([tmp_path]), studies=STUDIES))
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)
        assert "L" * 100 not in svg
    assert not set(page) & set("\u202e\u2066")
