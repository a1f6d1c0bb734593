"""Which jobs the benchmarks beside base-to-new are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diffuprompt.errors import ConfigError
from diffuprompt.studies.base_to_new import base_to_new_jobs
from diffuprompt.studies.plug_in.jobs import plug_in_jobs
from diffuprompt.studies.shared import Shared
from diffuprompt.studies.transfer import cross_dataset_jobs, domain_jobs, few_shot_jobs


def test_every_domain_is_left_out_once(tmp_path: Path) -> None:
    for domain in ("ink", "oil", "pen"):
        (tmp_path / domain).mkdir()
    shared = Shared(data=str(tmp_path), layout="domains")
    jobs = [entry.job for entry in domain_jobs(shared, ["coop", "vpt"], [1, 2])]
    assert len(jobs) == 2 * 3 * 2
    assert {job.protocol for job in jobs} == {"domain"}
    assert [job.train_domains for job in jobs[:6:2]] == [
        ("oil", "pen"),
        ("ink", "pen"),
        ("ink", "oil"),
    ]
    assert [job.seed for job in jobs] == [1] * 6 + [2] * 6
    (one,) = domain_jobs(shared, ["coop"], [1], ["pen"])
    assert one.job.train_domains == ("pen",)


def test_targets_are_those_of_every_job() -> None:
    shared = Shared(data="caltech101", test_data=("dtd", "eurosat"))
    jobs = [entry.job for entry in cross_dataset_jobs(shared, ["coop", "vpt"], [1])]
    assert [(job.protocol, job.test_data) for job in jobs] == [
        ("cross-dataset", ("dtd", "eurosat"))
    ] * 2
    (job,) = domain_jobs(Shared(data="scenes"), ["coop"], [1])
    assert (job.job.protocol, job.job.train_domains) == ("domain", ())


def test_what_needs_no_images_is_on_the_curve_once() -> None:
    jobs = [e.job for e in few_shot_jobs(Shared(data="scenes"), ["zero-shot", "coop"], [1, 2])]
    assert [(j.learner, j.shots) for j in jobs if j.seed == 1] == [
        ("zero-shot", 1),
        *(("coop", k) for k in (1, 2, 4, 8, 16)),
    ]
    with pytest.raises(ConfigError, match="--shots: expected at least one"):
        few_shot_jobs(Shared(data="scenes"), ["coop"], [1], [])


def test_the_open_world_is_scored_where_it_is_asked_for() -> None:
    shared = Shared(data="scenes")
    assert not base_to_new_jobs(shared, ["coop"], [1])[0].evaluation.open_world
    assert base_to_new_jobs(shared, ["coop"], [1], open_world=True)[0].evaluation.open_world


def test_what_a_study_changes_has_a_name_of_its_own() -> None:
    shared = Shared(data="scenes", overrides=("epochs=10",), setting="ten epochs")
    (entry,) = base_to_new_jobs(shared, ["coop"], [1])
    assert (entry.job.setting, entry.job.overrides) == ("ten epochs", ("epochs=10",))
    one_learner = {"learners": ["cocoop"], "generators": ["diffusion"], "seeds": [1], "steps": [3]}
    sweep = [e.job for e in plug_in_jobs(shared, **one_learner)]
    (one,) = (job for job in sweep if "overfit.steps=3" in job.overrides)
    assert one.setting == "ten epochs overfit.steps=3"
    assert {job.setting for job in sweep} == {"ten epochs", one.setting}


def test_generators_are_for_those_that_have_prompts() -> None:
    shared, both = Shared(data="scenes"), ("none", "diffusion")
    jobs = few_shot_jobs(shared, (), [1], [4], generators=both)
    with_generator = {entry.job.learner for entry in jobs if entry.job.generator == "diffusion"}
    assert {"coop", "vpt", "llu"} <= with_generator
    assert "zero-shot" not in with_generator
    assert len({entry.job.learner for entry in jobs}) > len(with_generator)
    jobs = domain_jobs(replace(shared, shots=4), ["vpt"], [1], generators=both)
    assert [(e.job.generator, e.job.shots, e.evaluation.controls) for e in jobs] == [
        ("none", 4, "all"),
        ("diffusion", 4, "basic"),
    ]
    assert not jobs[1].evaluation.oracle
    (job,) = cross_dataset_jobs(shared, ["maple"], [1], generators=["diffusion"])
    assert (job.job.learner, job.job.generator) == ("maple", "diffusion")
    with pytest.raises(ConfigError, match="zero-shot has no prompts to generate"):
        base_to_new_jobs(shared, ["zero-shot"], [1], generators=["diffusion"])
    with pytest.raises(ConfigError, match="Did you mean 'diffusion'") as caught:
        few_shot_jobs(shared, (), [1], generators=["difusion"])
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="--generators: expected some of none, diffusion"):
        base_to_new_jobs(shared, ["coop"], [1], generators=[])
