"""One self-contained HTML page of a report: no script, no external resource, figures inline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diffuprompt.report.css import CSS
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.figures import accuracy_bars, difference_forest
from diffuprompt.report.html_parts import Example, escape, facts, gallery, job_details, table_html
from diffuprompt.report.names import OWN, is_control, needs_images
from diffuprompt.report.other_sets import OTHER_SETS
from diffuprompt.report.views import Report, SectionView

__all__ = ["Example", "render_page"]


def render_page(report: Report, *, examples: Sequence[Example] = ()) -> str:
    """Return the page; everything that comes from records or examples is escaped.

    Raises `ConfigError` when matplotlib, which draws the figures, is not installed.
    """
    body = [
        _header(report),
        _layouts(report),
        *(_section(view) for view in report.sections),
        gallery(examples),
        *_appendices(report),
        _cost(report),
        _reproduce(report),
        _notes(report),
        _jobs(report),
        "<footer>Made by <code>diffuprompt report</code> from the records alone.</footer>",
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report.title)}</title>",
            f"<style>{CSS}</style>",
            "</head>",
            "<body><main>",
            *(part for part in body if part),
            "</main></body>",
            "</html>",
            "",
        ]
    )


def _header(report: Report) -> str:
    jobs = [source.record.job for source in report.sources]
    what = {
        "Data": sorted({job.dataset for job in jobs}),
        "Backbone": sorted({job.backbone for job in jobs}),
        "Shots": [str(s) for s in sorted({j.shots for j in jobs if needs_images(j.learner)})],
        "Seeds": [str(s) for s in sorted({seed for v in report.sections for seed in _seeds(v)})],
        "Jobs": [str(len(jobs))],
    }
    settings = f"{len(report.sections)} setting{'s' if len(report.sections) != 1 else ''}"
    lead = f"Few-shot prompts for frozen image-text models; {len(jobs)} finished jobs, {settings}."
    shown = {key: ", ".join(values) for key, values in what.items() if values}
    return (
        f'<header><h1>{escape(report.title)}</h1><p class="lead">{escape(lead)}</p>'
        f"{facts(shown)}</header>"
    )


def _seeds(view: SectionView) -> tuple[int, ...]:
    return view.section.seeds


def _section(view: SectionView) -> str:
    rows = view.section.rows
    classes = ["control" if is_control(r.variant) else "" for r in rows]
    classes = [
        "main" if r.variant != OWN and not c else c for r, c in zip(rows, classes, strict=True)
    ]
    parts = [f"<section><h2>{escape(view.section.setting.title)}</h2>"]
    if said := (*view.findings, *view.verdicts):
        lines = "".join(f"<li>{escape(line)}</li>" for line in said)
        parts.append(f'<ul class="verdict">{lines}</ul>')
    parts.append(table_html(view.headline, row_classes=classes))
    if view.section.metrics:
        parts.append(
            _figure(
                accuracy_bars(view.section),
                "Bars are means over seeds, whiskers one standard deviation, dots single seeds; "
                "the dashed bar is the oracle, an upper bound.",
            )
        )
    if view.other_sets is not None:
        parts += [f"<h3>{OTHER_SETS}</h3>", table_html(view.other_sets)]
    parts += [_part(part) for part in view.parts]
    if view.differences is not None:
        parts.append("<h3>Paired differences</h3>")
        parts.append(
            _figure(
                difference_forest(view.comparisons),
                "Dots are mean paired differences, lines their 95 % intervals, ticks single seeds. "
                "Grey: the interval holds zero.",
            )
        )
        parts.append(table_html(view.differences))
    if view.confidence is not None:
        parts += ["<h3>Confidence</h3>", table_html(view.confidence)]
    return "\n".join([*parts, "</section>"])


def _layouts(report: Report) -> str:
    """Return the tables over all data sets, under one heading a protocol."""
    parts = []
    for protocol in dict.fromkeys(layout.protocol for layout in report.layouts):
        mine = [layout for layout in report.layouts if layout.protocol == protocol]
        lines = "".join(f"<li>{escape(line)}</li>" for layout in mine for line in layout.answers)
        said = f'<ul class="verdict">{lines}</ul>' if lines else ""
        tables = "\n".join(_part(layout.part) for layout in mine)
        parts.append(f"<section><h2>{escape(protocol)}</h2>{said}{tables}</section>")
    return "\n".join(parts)


def _part(part: SectionPart) -> str:
    figure = ""
    if part.figure is not None:
        figure = _figure(part.figure.draw(), f"{part.figure.alt}; bands: ± one std.")
    return f"<h3>{escape(part.heading)}</h3>{figure}{table_html(part.table)}"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _appendices(report: Report) -> Iterator[str]:
    records = [source.record for source in report.sources]
    for study in report.studies:
        found = study.appendix(records)
        if found is not None:
            parts = [
                f"<h3>{escape(title)}</h3>{_figure(svg, found.caption)}"
                for title, svg in found.figures.items()
            ]
            yield f"<section><h2>{escape(found.heading)}</h2>{''.join(parts)}</section>"


def _cost(report: Report) -> str:
    return f"<section><h2>Cost</h2>{table_html(report.cost)}</section>"


def _reproduce(report: Report) -> str:
    commands = "\n".join(report.commands)
    shown = f"<pre>{escape(commands)}</pre>" if commands else "<p>No record names its command.</p>"
    environment = facts(dict(report.environment))
    return f"<section><h2>Reproduce</h2>{shown}<h3>Environment</h3>{environment}</section>"


def _notes(report: Report) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return f'<section><h2>How the numbers are made</h2><ul class="notes">{items}</ul></section>'


def _jobs(report: Report) -> str:
    items = "\n".join(job_details(source.record) for source in report.sources)
    return f"<section><h2>Every job</h2>{items}</section>"
