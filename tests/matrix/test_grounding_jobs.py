"""Grounding jobs in a matrix: what waits for what, what is finished, what a worker is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.grounding.tiny_jobs import tiny_job
from tests.report.grounding import grounding_record

from diffuprompt.errors import ConfigError
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.matrix import worker
from diffuprompt.matrix.grounding import PlannedGrounding, plan_grounding


def planned(job: GroundingJobConfig) -> PlannedGrounding:
    (only,) = plan_grounding([job])
    return only


def test_rows_wait_for_the_first_that_makes_their_masks(tmp_path: Path) -> None:
    names = ("vpt", "regression", "diff-prompt", "vpt", "map-box", "oracle", "independent")
    jobs = [tiny_job(tmp_path, name) for name in names]
    jobs += [tiny_job(tmp_path, "shuffled", seed=2), tiny_job(tmp_path, "shuffled")]
    found = plan_grounding(jobs)
    assert [(p.kind[1], p.run.job.seed) for p in found] == [
        ("vpt", 1), ("regression", 1), ("diff-prompt", 1), ("map-box", 1), ("oracle", 1),
        ("independent", 1), ("shuffled", 2), ("shuffled", 1),
    ]  # fmt: skip
    needing = [p.kind[1] for p in found if p.needs is not None]
    assert needing == ["diff-prompt", "map-box", "shuffled"]
    assert {p.needs for p in found} == {None, found[1].name}
    with pytest.raises(ConfigError, match="unknown key"):
        plan_grounding([*jobs, tiny_job(tmp_path, "vpt", "stepz=1")])


def test_a_job_is_finished_when_all_its_sets_are_scored(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, "vpt", test=("scenes", "crowds"))
    one = planned(job)
    assert one.path == tmp_path / one.name
    assert not one.is_finished
    one.path.mkdir()
    for tests, finished in (((), False), (("crowds",), True), (("crowds", "collages"), True)):
        one.record.write_text(grounding_record("vpt", tests=tests).model_dump_json())
        assert one.is_finished == finished
    assert planned(tiny_job(tmp_path, "vpt")).is_finished


def test_a_record_is_kept_under_the_setting_that_is_asked(tmp_path: Path) -> None:
    record = grounding_record("vpt", setting="length=4")
    same = planned(tiny_job(tmp_path, "vpt", setting="length=4"))
    same.path.mkdir()
    same.record.write_text(record.model_dump_json(indent=1))
    assert same.record_as_asked() == same.record.read_bytes()
    plain = planned(tiny_job(tmp_path, "vpt"))
    assert plain.record == same.record, "a name changes no result"
    kept = json.loads(plain.record_as_asked())
    assert kept == json.loads(record.model_dump_json()) | {
        "job": record.job.model_dump() | {"setting": ""}
    }
    copy = tmp_path / "copy.json"
    copy.write_bytes(plain.record_as_asked())
    assert plain.is_repeated_in(copy)
    assert not same.is_repeated_in(copy)
    copy.write_text("{}")
    assert not plain.is_repeated_in(copy)


def test_a_worker_is_told_the_job_and_does_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path, "vpt", test=("scenes", "crowds"))
    calls: list[object] = []
    monkeypatch.setattr(
        "diffuprompt.jobs.train_grounding", lambda job, progress: calls.append(job) or tmp_path
    )
    monkeypatch.setattr(
        "diffuprompt.jobs.evaluate_grounding",
        lambda path, *, test, progress: calls.append((path, test)),
    )
    assert worker.work(json.dumps(planned(job).message())) == 0
    assert calls == [job, (tmp_path, job.test)]
