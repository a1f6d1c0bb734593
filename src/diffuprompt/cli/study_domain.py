"""`diffuprompt study domain`: train on one or several domains, test on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffuprompt.cli.study import MethodArgs, StudyArgs, carry_out, shared

EXAMPLES = """
diffuprompt study domain --data imagenet --learners coop cocoop maple
diffuprompt study domain --data scenes --learners coop vpt --seeds 1
diffuprompt study domain --data scenes --learners vpt maple --generators none diffusion --shots 4
diffuprompt study domain --data ~/PACS --layout domains --learners coop
diffuprompt study domain --data ~/PACS --layout domains --train-domains photo --learners coop
"""


@dataclass(frozen=True, kw_only=True)
class Args(MethodArgs, StudyArgs):
    """Train on all classes, and score other pictures of them; with domains, each is left out."""

    layout: Literal["auto", "domains"] = "auto"
    """domains: the folder's sub folders are domains, domain/class/picture. Each is left out once:
    the others train, and every picture of it is a test picture."""
    train_domains: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DOMAIN...")] = ()
    """Train on these domains alone, and test on all others."""
    test_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|PATH...")] = ()
    """Data sets of the same classes; without it, for ImageNet and the scenes, those of the paper
    that are here."""


def run(args: Args) -> int:
    """Run the matrix, or list it."""
    common = replace(shared(args), layout=args.layout, test_data=args.test_data)
    from diffuprompt.matrix import plan
    from diffuprompt.studies import domain_jobs

    jobs = domain_jobs(
        common, args.learners, args.seeds, args.train_domains, generators=args.generators
    )
    return carry_out(plan(jobs), args, f"domain-{Path(args.data).name}")
