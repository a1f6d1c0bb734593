"""Pieces of the HTML page: tables, facts, the gallery of examples, one job's details."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diffuprompt.printable import printable
from diffuprompt.record import Record, Score
from diffuprompt.report.names import OWN, main_variant, metric_name, row_name
from diffuprompt.report.stats import wilson
from diffuprompt.report.tables import Cell, Number, Table, plain

CLASSIFICATION = {  # what of a classification score is shown: metric -> heading, digits
    "accuracy": ("Accuracy", 2),
    "macro_f1": ("Macro F1", 2),
    "nll": ("NLL", 3),
    "ece": ("ECE", 3),
}


SEEN = (
    "Below each picture: where its first guess comes from (red: hiding it lowers the logit, blue: "
    "raises it) with the learner's own prompts, those generated for it, and those of another "
    "picture; then the words nearest to its generated prompts, with their cosine and their "
    "distance, 1 being what lies between two random words."
)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture for the gallery: PNG bytes, a title, and (class, probability) pairs.

    ``maps`` are PNGs of where the first guess comes from, by the kind of prompts; ``words`` are
    lines on the prompts' nearest words.
    """

    png: bytes
    title: str
    guesses: tuple[tuple[str, float], ...]
    maps: Mapping[str, bytes] = field(default_factory=dict)
    words: tuple[str, ...] = ()


def escape(text: str) -> str:
    """Return a text as a page shows it: no markup, and nothing that turns the text around it."""
    return html.escape(printable(text))


def table_html(table: Table, *, row_classes: Sequence[str] = ()) -> str:
    """Return a table with its caption below; numbers are flush right, the best ones bold."""
    marks = [' class="n"' if table.numeric(i) else "" for i in range(len(table.columns))]
    head = "".join(f"<th{m}>{escape(c)}</th>" for m, c in zip(marks, table.columns, strict=True))
    body = []
    for r, row in enumerate(table.rows):
        cells = "".join(f"<td{m}>{_cell(c)}</td>" for m, c in zip(marks, row, strict=True))
        name = row_classes[r] if row_classes else ""
        body.append(f'<tr class="{escape(name)}">{cells}</tr>' if name else f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(body)
        + f'</tbody></table></div>\n<p class="caption">{escape(table.caption)}</p>'
    )


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return escape(plain(cell))
    head = f"<b>{escape(cell.head)}</b>" if cell.best else escape(cell.head)
    return f'{head}<span class="tail">{escape(cell.tail)}</span>' if cell.tail else head


def facts(pairs: Mapping[str, str]) -> str:
    """Return a row of small labels with values; empty for no pairs."""
    if not pairs:
        return ""
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs.items()
    )
    return f'<dl class="facts">{items}</dl>'


def gallery(examples: Sequence[Example]) -> str:
    """Return cards of examples, or nothing."""
    if not examples:
        return ""
    cards = "\n".join(_card(example) for example in examples)
    seen = any(example.maps or example.words for example in examples)
    note = f'<p class="note">{escape(SEEN)}</p>' if seen else ""
    return f'<section><h2>Examples</h2>{note}<div class="gallery">{cards}</div></section>'


def _card(example: Example) -> str:
    guesses = "".join(
        f'<div class="guess"><span>{escape(name)}</span><span>{100 * p:.1f} %</span>'
        f'<i style="width:{min(100.0, max(0.0, 100 * p)):.1f}%"></i></div>'
        for name, p in example.guesses
    )
    maps = "".join(
        f"<span>{_image(png, f'{kind} prompts')}{escape(kind)}</span>"
        for kind, png in example.maps.items()
    )
    maps = f'<div class="maps">{maps}</div>' if maps else ""
    words = "".join(f"<li>{escape(line)}</li>" for line in example.words)
    words = f'<ul class="words">{words}</ul>' if words else ""
    return (
        f'<div class="card">{_image(example.png, example.title)}'
        f"<h4>{escape(example.title)}</h4>{guesses}{maps}{words}</div>"
    )


def _image(png: bytes, title: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def job_details(record: Record) -> str:
    """Return one folded job: scores with Wilson intervals, stages, statistics, configuration."""
    job = record.job
    name = row_name(job.learner, job.generator, main_variant(job.generator))
    what = f"{job.dataset} · {job.protocol} · {job.shots} shots · seed {job.seed}"
    blocks = [
        f"<summary>{escape(name)}<span>{escape(what)}</span></summary><div>",
        table_html(_scores(record)),
        facts({f"{stage}, s": f"{value:.1f}" for stage, value in record.seconds.items()}),
        facts({key: f"{value:.5g}" for key, value in sorted(record.statistics.items())}),
        f"<h3>Configuration</h3><pre>{escape(_json(record.config))}</pre>",
        f"<h3>Hashes and environment</h3><pre>{escape(_json(record.hashes))}\n"
        f"{escape(_json(record.environment))}</pre>",
        f"<h3>Command</h3><pre>{escape(record.command)}</pre>",
        "</div>",
    ]
    return f"<details>{''.join(blocks)}</details>"


def _scores(record: Record) -> Table:
    named = list(dict.fromkeys(name for score in record.scores for name in score.metrics))
    first, *others = [m for m in CLASSIFICATION if m in named] or named
    several = any(score.dataset != record.job.dataset for score in record.scores)
    rows = tuple(
        (
            _prompts(record, score),
            *([score.dataset] if several else []),
            metric_name(score.subset),
            _metric(score, first),
            Number(value=score.total, digits=0),
            *(_metric(score, name) for name in others),
        )
        for score in record.scores
    )
    columns = (
        "Prompts",
        *(["Test set"] if several else []),
        "Classes",
        _heading(first),
        "Images",
        *map(_heading, others),
    )
    caption = "In brackets: Wilson's 95 % interval of the accuracy over test images."
    is_counted = any(score.hits is not None for score in record.scores)
    return Table(columns=columns, rows=rows, caption=caption if is_counted else "")


def _heading(metric: str) -> str:
    return CLASSIFICATION[metric][0] if metric in CLASSIFICATION else metric


def _prompts(record: Record, score: Score) -> str:
    name = row_name(record.job.learner, record.job.generator, score.variant)
    return f"{name} (own prompts)" if score.variant == OWN else name


def _metric(score: Score, name: str) -> Cell:
    if name not in score.metrics:
        return None
    interval = None
    if name == "accuracy" and score.hits is not None:
        interval = wilson(sum(score.hit_list()), score.total)
    digits = CLASSIFICATION.get(name, (name, 2))[1]
    return Number(value=score.metrics[name], interval=interval, digits=digits)


def _json(data: object) -> str:
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, default=str)
