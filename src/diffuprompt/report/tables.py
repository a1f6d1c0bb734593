"""One table object, written as Markdown, CSV or LaTeX; formatting lives here and nowhere else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffuprompt.errors import DataError
from diffuprompt.printable import printable

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number with fixed digits, and maybe a spread (std) or the two ends of an interval."""

    value: float
    spread: float | None = None
    interval: tuple[float, float] | None = None
    digits: int = 2
    signed: bool = False
    best: bool = False

    def _format(self, value: float, signed: bool) -> str:
        text = f"{value:+,.{self.digits}f}" if signed else f"{value:,.{self.digits}f}"
        if not any(c in "123456789" for c in text):
            text = text.lstrip("+-")  # no signed zero
        return text.replace("-", MINUS)

    @property
    def head(self) -> str:
        """The number alone."""
        return self._format(self.value, self.signed)

    @property
    def tail(self) -> str:
        """The spread or interval, e.g. ``± 0.41`` or ``[0.10, 0.95]``; empty without one."""
        if self.spread is not None:
            return f"± {self._format(self.spread, False)}"
        if self.interval is not None:
            low, high = (self._format(end, self.signed) for end in self.interval)
            return f"[{low}, {high}]"
        return ""


Cell = str | Number | None  # None is "not measured"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns, rows of as many cells, and a caption that says how the numbers were made."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise DataError(f"expected {len(self.columns)} cells, got {len(row)}: {row}")

    def numeric(self, column: int) -> bool:
        """Whether a column is set flush right: all its cells are numbers or missing."""
        cells = [row[column] for row in self.rows]
        return any(isinstance(c, Number) for c in cells) and not any(
            isinstance(c, str) for c in cells
        )


def plain(cell: Cell) -> str:
    """Return a cell as unmarked text; an em dash when it was not measured."""
    if cell is None:
        return "—"
    return cell if isinstance(cell, str) else f"{cell.head} {cell.tail}".strip()


def markdown_escape(text: str) -> str:
    r"""Escape what Markdown would read as markup or as a table's border."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", printable(" ".join(text.split())))


def to_markdown(table: Table) -> str:
    """Return a pipe table followed by its caption; the best numbers are bold."""

    def show(cell: Cell) -> str:
        if isinstance(cell, Number):
            head = f"**{cell.head}**" if cell.best else cell.head
            return f"{head} {cell.tail}".strip()
        return markdown_escape(plain(cell))

    rule = ["---:" if table.numeric(i) else "---" for i in range(len(table.columns))]
    lines = [[markdown_escape(c) for c in table.columns], rule]
    lines += [[show(cell) for cell in row] for row in table.rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{table.caption}\n"


def to_csv(table: Table) -> str:
    """Return CSV with full-precision numbers; spreads and intervals get columns of their own.

    A text that a spreadsheet would take for a formula is led by an apostrophe.
    """
    parts = [_csv_parts(table, i) for i in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_no_formula(name) for names, _ in parts for name in names])
    for r in range(len(table.rows)):
        writer.writerow([value for _, columns in parts for value in columns[r]])
    return out.getvalue()


def _no_formula(text: str) -> str:
    """Return what spreadsheets show and do not compute (CWE-1236); signed numbers stay."""
    shown = printable(text)
    is_one = shown.lstrip(" \n").startswith(("=", "+", "-", "@", "\t"))
    return f"'{shown}" if is_one and not _COUNTS.fullmatch(shown) else shown


def _csv_parts(table: Table, i: int) -> tuple[list[str], list[list[str]]]:
    cells = [row[i] for row in table.rows]
    numbers = [c for c in cells if isinstance(c, Number)]
    spread = any(c.spread is not None for c in numbers)
    interval = any(c.interval is not None for c in numbers)
    name = table.columns[i]
    names = [name] + [f"{name} std"] * spread + [f"{name} low", f"{name} high"] * interval
    columns = []
    for cell in cells:
        if isinstance(cell, Number):
            row = [repr(float(cell.value))]
            row += ["" if cell.spread is None else repr(float(cell.spread))] * spread
            ends = cell.interval or (None, None)
            row += ["" if e is None else repr(float(e)) for e in ends] if interval else []
        else:
            row = [_no_formula(cell or ""), *[""] * (len(names) - 1)]
        columns.append(row)
    return names, columns


_COUNTS = re.compile(r"[+-]?[0-9., %−/]+")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$",
    MINUS: "$-$", "—": "---", "–": "--", "·": r"$\cdot$", "×": r"$\times$",
}  # fmt: skip


# at its own width, or at that of the text where it is wider
FITTED = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{"
PAGE = 45  # rows that fit on one


def latex_escape(text: str) -> str:
    """Escape LaTeX's special characters; one pass, so nothing is escaped twice."""
    return "".join(_LATEX.get(c, c) for c in printable(" ".join(text.split())))


def to_latex(table: Table) -> str:
    """Return a ``table`` environment in the booktabs style, several for more than `PAGE` rows.

    A table that is wider than the text is scaled to it, for which graphicx is needed.
    """

    def show(cell: Cell) -> str:
        if isinstance(cell, Number) and cell.best:
            return rf"\textbf{{{latex_escape(cell.head)}}} {latex_escape(cell.tail)}".strip()
        return latex_escape(plain(cell))

    align = "".join("r" if table.numeric(i) else "l" for i in range(len(table.columns)))
    head = " & ".join(latex_escape(c) for c in table.columns)
    # a bracket or star after the \\ of the row above would be its argument
    lines = [" & ".join(show(cell) for cell in row) + r" \\" for row in table.rows]
    body = [f"{{}}{line}" if line.startswith(("[", "*")) else line for line in lines]
    pages = [body[i : i + PAGE] for i in range(0, len(body), PAGE)] or [[]]
    captions = [latex_escape(table.caption), *["Continued."] * (len(pages) - 1)]
    made = [_environment(c, align, head, rows) for c, rows in zip(captions, pages, strict=True)]
    return "\n".join(made)


def _environment(caption: str, align: str, head: str, rows: Sequence[str]) -> str:
    """Return one ``table``; all are LaTeX already."""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"{FITTED}\begin{{tabular}}{{{align}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def stack(labels: Sequence[Sequence[str]], names: Sequence[str], tables: Sequence[Table]) -> Table:
    """Put tables under each other, each row led by its table's labels (columns ``names``).

    Tables may have different columns; a cell that a table does not have is missing.
    """
    columns = tuple(dict.fromkeys(c for table in tables for c in table.columns))
    rows: list[tuple[Cell, ...]] = []
    for label, table in zip(labels, tables, strict=True):
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            rows.append((*label, *(cells.get(c) for c in columns)))
    caption = " ".join(dict.fromkeys(table.caption for table in tables))
    return Table(columns=(*names, *columns), rows=tuple(rows), caption=caption)
