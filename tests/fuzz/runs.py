"""Run folders, damaged: listed, evaluated again, and asked for their artifact."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_json
from tests.fuzz.trained import trained_world

from diffuprompt.cli.runs import list_runs
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.record import Record, read_record

FILES = ("run.json", "stages.json", "record.json", "environment.json", "artifact/artifact.json")
NAMES = ("run", "record.json", "stages.json", "artifact", "environment.json", "data set", "clip")


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The finished run and what its record says."""

    world: Path
    record: Record


def material(folder: Path) -> Material:
    world = trained_world(folder)
    return Material(world=world, record=read_record(world / "coop" / "record.json"))


def examples(made: Material) -> st.SearchStrategy[Example]:
    return st.one_of(*[_of_file(made.world / "coop", name) for name in FILES])


def _of_file(run: Path, name: str) -> st.SearchStrategy[Example]:
    value = json.loads((run / name).read_bytes())
    return damaged_json(value).map(lambda pair: Example(what=(name, pair[0]), names=NAMES))


def check(made: Material, example: Example, folder: Path) -> None:
    name, data = example.what
    run = folder / "run"
    (run / "artifact").mkdir(parents=True)
    os.symlink(made.world / ".stages", folder / ".stages")
    inside = ("artifact.json", "prompts.safetensors")
    for inner in (*FILES[:-1], *(f"artifact/{leaf}" for leaf in inside)):
        if inner != name:
            (run / inner).write_bytes((made.world / "coop" / inner).read_bytes())
    (run / name).write_bytes(data)
    list_runs(folder)
    record = read_record(evaluate_run(run))
    for score in made.record.scores:
        again = record.score(score.variant, score.subset, score.dataset)
        if again is None or again.hits != score.hits or again.total != score.total:
            raise Silent(f"{score.variant.label}/{score.subset}: another score")


GROUP = Group(name="runs", material=material, examples=examples, check=check)
