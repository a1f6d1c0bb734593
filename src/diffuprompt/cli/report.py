"""`diffuprompt report`: tables, figures and one page from records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import ConfigError

FORMATS = "md,csv,tex,html"
EXAMPLES = """
diffuprompt report runs
diffuprompt report results --out page --format html,csv
diffuprompt report results --out page --format tex --against paper
diffuprompt report results --write RESULTS.md
diffuprompt report results --check RESULTS.md
diffuprompt report results/grounding --write results/grounding/RESULTS.md
diffuprompt report results/plugin-study --summary results/plugin-study/summary.json
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Make tables, figures and one HTML page from records."""

    paths: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PATH...")] = ()
    """Record files, or folders with runs/JOB/record.json or results/STUDY/JOB.json at any depth."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the report here; without it, --write, --check and --summary a table is printed."""
    format: Annotated[str, tyro.conf.arg(metavar="LIST")] = FORMATS
    """What to write into --out: some of md,csv,tex,html."""
    write: Annotated[Path | None, tyro.conf.arg(metavar="RESULTS.md")] = None
    """Write the report as pages and this index of them, with NOTES.md from the folders given, and
    beside the records its figures and the summaries that are there."""
    summary: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Write the plug-in study's summary of the records to this file in their folder."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="RESULTS.md")] = None
    """Fail, showing a diff, unless this file, its pages and figures and the summaries among the
    records are what --write would make."""
    pages: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the pages that --write makes and links; by default docs/results beside RESULTS.md,
    and beside OTHER.md the folder OTHER."""
    against: Literal["none", "paper", "paper-full"] = "none"
    """Put the published numbers (CLIP ViT-B/16) and the difference beside ours; paper-full shows
    those that we have none of, too."""
    title: Annotated[str, tyro.conf.arg(metavar="TEXT")] = ""
    """Headline of the report."""


def run(args: Args) -> int:
    """Read all records, then write, check or print."""
    if not args.paths:
        raise ConfigError("name at least one folder of records, such as: diffuprompt report runs")
    if args.pages is not None and args.write is None and args.check is None:
        raise ConfigError("--pages: expected --write or --check beside it, which make the pages")
    from diffuprompt.report import (
        TITLE,
        build_report,
        check,
        find_records,
        load_records,
        parse_formats,
        publish,
        read_notes,
        to_markdown,
        write,
    )
    from diffuprompt.studies import HEADING, grounding_page, studies_against, write_summary

    studies = studies_against(args.against)
    formats = parse_formats(args.format)
    if args.format != FORMATS and args.out is None:
        raise ConfigError("--format: says what --out writes; name a folder with --out too")
    title = args.title or TITLE
    if args.check is not None:
        check(args.paths, args.check, studies=studies, title=title, pages=args.pages)
        print(f"{args.check} is what the records say")
    if args.summary is not None:
        write_summary(args.paths, args.summary)
        print(f"wrote {args.summary}")
    if args.write is not None:
        files = write(args.paths, args.write, studies=studies, title=title, pages=args.pages)
        for path in files:
            print(f"wrote {path}")
    asked = (args.check, args.summary, args.write)
    if args.out is None and any(path is not None for path in asked):
        return 0
    found = find_records(args.paths)
    if found.grounding and not found.files and args.out is None:
        print(grounding_page(args.paths))
        return 0
    sources = load_records(args.paths)
    report = build_report(sources, studies=studies, title=title)
    if args.out is not None:
        notes = read_notes(args.paths)
        for path in publish(report, args.out, formats=formats, notes=notes):
            print(f"wrote {path}")
    else:
        from diffuprompt.cli.summary import summary

        print(summary(sources))
        lines = [verdict for view in report.sections for verdict in view.verdicts]
        print("\n" + "\n".join(lines) if lines else "", end="\n" if lines else "")
        parts = [part for view in report.sections for part in view.parts]
        parts += [layout.part for layout in report.layouts]
        for part in parts:
            if part.heading.startswith(HEADING):
                print(f"\n{to_markdown(part.table)}", end="")
    return 0
