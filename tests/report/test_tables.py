"""One table, three notations."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from diffuprompt.errors import DataError
from diffuprompt.report.commands import generic_commands
from diffuprompt.report.tables import Number, Table, plain, stack, to_csv, to_latex, to_markdown

TABLE = Table(
    columns=("Method", "H"),
    rows=(
        ("a|b_*", Number(value=70.123, spread=0.456, best=True)),
        ("— control", Number(value=-1.5, interval=(-2.0, 0.25), signed=True)),
        ("c & d", None),
    ),
    caption="50 % of it.",
)


def test_markdown() -> None:
    assert to_markdown(TABLE).splitlines() == [
        "| Method | H |",
        "| --- | ---: |",
        r"| a\|b\_\* | **70.12** ± 0.46 |",
        "| — control | −1.50 [−2.00, +0.25] |",
        "| c & d | — |",
        "",
        "50 % of it.",
    ]


def test_latex_escapes_and_sets_the_best_in_bold() -> None:
    text = to_latex(TABLE)
    assert r"a\textbar{}b\_* & \textbf{70.12} $\pm$ 0.46 \\" in text
    assert r"--- control & $-$1.50 [$-$2.00, +0.25] \\" in text
    assert r"c \& d & --- \\" in text
    assert r"\caption{50 \% of it.}" in text
    assert r"\begin{tabular}{lr}" in text


def test_csv_keeps_full_precision_and_splits_columns() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [
        ["Method", "H", "H std", "H low", "H high"],
        ["a|b_*", "70.123", "0.456", "", ""],
        ["— control", "-1.5", "", "-2.0", "0.25"],
        ["c & d", "", "", "", ""],
    ]


@given(st.floats(-1e4, 1e4), st.integers(0, 3), st.booleans())
def test_numbers_have_fixed_digits_and_no_signed_zero(x: float, digits: int, signed: bool) -> None:
    text = Number(value=x, digits=digits, signed=signed).head.replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(x, abs=0.5 * 10**-digits + 1e-9)
    assert len(text.partition(".")[2]) == digits
    if float(text) == 0:
        assert text[0] == "0"


def test_thousands_are_grouped() -> None:
    assert plain(Number(value=35360, digits=0)) == "35,360"


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(DataError, match="expected 2 cells, got 1"):
        Table(columns=("a", "b"), rows=(("x",),), caption="")


def test_stack_keeps_all_columns() -> None:
    other = Table(columns=("Method", "All"), rows=(("z", Number(value=1)),), caption="Other.")
    both = stack([("d1",), ("d2",)], ("dataset",), [TABLE, other])
    assert both.columns == ("dataset", "Method", "H", "All")
    assert both.rows[-1] == ("d2", "z", None, Number(value=1))


def test_commands_lose_seeds_and_machine_paths() -> None:
    got = generic_commands(
        [
            "/opt/env/bin/diffuprompt train --data /home/me/my photos --seed 1 --out=/x/runs/a",
            "/opt/env/bin/diffuprompt train --data '/home/me/birds' --seed 1",
            "diffuprompt train --data ~/birds --seed=2",
            "diffuprompt evaluate runs/a --seed 7",
            "",
            "say 'unbalanced",
        ]
    )
    assert got == (
        "diffuprompt train --data my photos --seed 1 --out=a",
        'for seed in 1 2; do diffuprompt train --data birds --seed "$seed"; done',
        "diffuprompt evaluate runs/a --seed 7",
        "say 'unbalanced",
        "diffuprompt evaluate runs/*",
    )


FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "=")


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_cells_are_never_formulas(text: str) -> None:
    table = Table(columns=(text, "n"), rows=((text, Number(value=-1.5)),), caption="")
    header, row = csv.reader(io.StringIO(to_csv(table)))
    for cell in (header[0], row[0]):
        assert cell.lstrip()[0] not in "=+-@"
        assert cell[0] not in "=+-@\t\r"
    assert row[1] == "-1.5"


def test_csv_leaves_numbers_and_counts_alone() -> None:
    cells = ("+12 −3", "-4", "CoCoOp", "", "2 / 1 / 0")
    table = Table(columns=tuple("abcde"), rows=(cells,), caption="")
    assert tuple(list(csv.reader(io.StringIO(to_csv(table))))[1]) == cells


@pytest.mark.parametrize("text", ["a\u202eb", "a\x1b[31mb", "a\x9b31mb", "\u2067a", "a\0b", "\x7f"])
def test_no_notation_carries_control_characters(text: str) -> None:
    table = Table(columns=(text,), rows=((text,),), caption="")
    for made in (to_markdown(table), to_csv(table), to_latex(table)):
        assert not any(c in made for c in "\u202e\u2067\x1b\x9b\0\x7f")


def document(body: str) -> str:
    """Put LaTeX tables into a document that compiles."""
    head = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    return "\n".join([head, r"\begin{document}", body, r"\end{document}"])


def test_latex_compiles(tmp_path: Path) -> None:
    """With hostile texts in every place; where there is no LaTeX, what it would choke on."""
    hostile = r"<a>&%$#_{}~^\|é—–·×±−[x] \input{y}"
    body = to_latex(
        Table(
            columns=(hostile, "H"),
            rows=((hostile, Number(value=-1.5, spread=0.2, best=True)), ("[b]", None)),
            caption=hostile,
        )
    )
    (tmp_path / "t.tex").write_text(document(body), encoding="utf-8")
    latex = shutil.which("pdflatex")
    if latex is not None:
        command = [latex, "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
    bare = re.sub(r"\\(?:[{}&%$#_]|text\w+\{\}|\w+)", "", body)
    assert bare.count("{") == bare.count("}")
    assert not set("#_~^%") & set(bare)
    rows = [line for line in bare.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 3
    assert {row.count("&") for row in rows} == {1}
    assert re.findall(r"\\begin\{(\w+)\}", body) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", body) == ["tabular", "table"]


def test_a_long_table_goes_on_over_pages() -> None:
    rows = tuple((str(i), Number(value=i, digits=0)) for i in range(100))
    text = to_latex(Table(columns=("name", "count"), rows=rows, caption="Long."))
    pages = text.split(r"\begin{table}")[1:]
    assert [page.count("toprule") for page in pages] == [1, 1, 1]
    assert [r"\caption{Long.}" in page for page in pages] == [True, False, False]
    written = [line for line in text.splitlines() if line[:1].isdigit()]
    assert written == [rf"{i} & {i} \\" for i in range(100)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_a_wide_table_is_scaled_to_the_page(tmp_path: Path) -> None:
    wide = to_latex(Table(columns=("a long heading",) * 30, rows=((None,) * 30,), caption="Wide."))
    (tmp_path / "t.tex").write_text(document(wide), encoding="utf-8")
    subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=True)
    assert "Overfull" not in (tmp_path / "t.log").read_text(encoding="latin-1")
