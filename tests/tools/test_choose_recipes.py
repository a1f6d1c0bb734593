"""Settings are chosen inside the base classes, each beside the recipe that it varies."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from tests.world import COLOURS, make_pictures
from tools import choose_recipes

from diffuprompt.jobs.job import resolve
from diffuprompt.matrix.planning import plan
from diffuprompt.studies.plug_in import design


def asked(**values: object) -> Namespace:
    defaults = {
        "data": "scenes", "backbone": "scenes-clip", "seeds": [1, 2], "precision": "fp32",
        "learners": list(choose_recipes.LEARNERS), "generators": ["none", "diffusion"],
        "runs_dir": Path("runs"), "grid": "recipes",
    }  # fmt: skip
    return Namespace(**{**defaults, **values})


def test_every_job_is_a_holdout_and_can_be() -> None:
    jobs = choose_recipes.jobs(asked())
    assert {j.job.protocol for j in jobs} == {"holdout"}
    assert all(j.job.setting == " ".join(j.job.overrides) for j in jobs)
    main = {(j.job.learner, j.job.generator) for j in jobs if not j.job.setting}
    assert {(j.job.learner, j.job.generator) for j in jobs} == main
    assert {learner for learner, generator in main if generator == "diffusion"} == set(
        design.LEARNERS
    )
    assert {j.job.learner for j in jobs} == set(choose_recipes.LEARNERS)


def test_every_option_is_a_row_of_its_own() -> None:
    """None is refused, and none is the default under another name."""
    one = asked(grid="options", learners=["cocoop"], generators=["diffusion"], seeds=[1])
    where: Any = {"dataset": "scenes", "backbone": "b", "own_pictures": False, "logit_scale": 1.0}
    found = {resolve(asked.job, **where).hash for asked in choose_recipes.jobs(one)}
    assert len(found) == 1 + len(choose_recipes.OPTIONS)


def test_learners_come_before_the_generators_that_take_them_over(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, colour in (("grey", (128, 128, 128)), ("pink", (240, 160, 200))):
        monkeypatch.setitem(COLOURS, name, colour)  # half of the base classes are two
    colours = make_pictures(tmp_path / "colours", tuple(COLOURS), splits=("train", "val", "test"))
    places = {"data": str(colours), "backbone": str(world / "clip"), "runs_dir": tmp_path}
    planned = plan(choose_recipes.jobs(asked(learners=["coop"], seeds=[1], **places)))
    names = [p.name for p in planned]
    for i, p in enumerate(planned):
        assert p.needs is None or p.needs in names[:i]
