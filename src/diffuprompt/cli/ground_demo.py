"""`diffuprompt ground demo`: the bundled grounder on drawn scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

EXAMPLES = """
diffuprompt ground demo
diffuprompt ground demo --out my-demo
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Score 200 expressions about scenes with and without Diff-Prompt, and draw six of them."""

    artifact: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A run of `diffuprompt ground train` on scenes; by default what comes with the package."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Where the drawing goes."""


def run(args: Args) -> int:
    """Run the demo; print the table and where the drawing is."""
    from diffuprompt.cli.console import console_progress, table
    from diffuprompt.grounding import bundled_grounder, load_grounder
    from diffuprompt.studies import run_grounding_demo

    grounder = load_grounder(args.artifact or bundled_grounder())
    demo = run_grounding_demo(grounder, args.out, progress=console_progress())
    rows = [[name, *(r[k] for k in ("r1", "r5", "ub"))] for name, r in demo.found.items()]
    print(f"{demo.expressions} test expressions about scenes, per cent found:")
    print(table(["method", "R@1", "R@5", "UB"], rows))
    print(f"\ndrawing: {demo.picture.resolve()}")
    print(f'next: diffuprompt ground predict {demo.scene} "{demo.text}" --samples 8')
    return 0
