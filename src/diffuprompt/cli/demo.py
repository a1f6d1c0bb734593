"""`diffuprompt demo`: the whole thing on the bundled scenes world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

EXAMPLES = """
diffuprompt demo
diffuprompt demo --out my-demo
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Run zero-shot, CoOp, CoCoOp and CoCoOp with diffusion on scenes, and make a page."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Where the runs and the page go; a second call resumes what is there."""


def run(args: Args) -> int:
    """Run the demo; print the table of its records and where the page is."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.cli.summary import summary
    from diffuprompt.report import Example, build_report, load_records, publish
    from diffuprompt.studies import STUDIES, run_demo

    runs, guesses = run_demo(args.out, console_progress())
    records = load_records([runs])
    examples = [
        Example(png=g.png, title=g.truth, guesses=g.ranked, maps=g.maps, words=g.words)
        for g in guesses
    ]
    title = "diffuprompt demo: prompts for a small synthetic world"
    report = build_report(records, studies=STUDIES, title=title)
    publish(report, args.out, formats=("md", "html"), examples=examples)
    print(summary(records))
    print(f"\npage: {(args.out / 'report.html').resolve()}")
    return 0
