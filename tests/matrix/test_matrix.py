"""Many jobs: what is planned, in what order they run, what failure and interruption leave.

The order is tested with a stand-in for the process of a job, which writes a record at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report import factory
from tests.world import asked, command, make_pictures

from diffuprompt.cli.study_plug_in import Args as StudyArgs
from diffuprompt.data import open_dataset, write_shifted
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.sources import Sources
from diffuprompt.jobs.train import run_of, train_job
from diffuprompt.matrix import run as matrix
from diffuprompt.matrix.entry import MatrixJob
from diffuprompt.matrix.planning import Planned, plan
from diffuprompt.matrix.run import run_matrix
from diffuprompt.matrix.worker import work
from diffuprompt.record import Record, Variant, read_record
from diffuprompt.report.load import find_records
from diffuprompt.studies.base_to_new import base_to_new_jobs
from diffuprompt.studies.plug_in.design import FOCUS, NFE
from diffuprompt.studies.plug_in.jobs import plug_in_jobs
from diffuprompt.studies.shared import Shared

STAND_IN = """
import json, os, sys, time
from pathlib import Path
job = json.loads(sys.stdin.readline())["job"]
seed, name = job["seed"], job["learner"] + "+" + job["generator"]
runs = Path(job["runs_dir"])
with (runs / "order.txt").open("a") as file:
    file.write(f"{name} {seed} {os.environ['OMP_NUM_THREADS']}\\n")
if seed == 13:
    print("error: bad luck")
    sys.exit(4)
if seed == 14:
    print("error: a warning that was survived", flush=True)
    print("epoch 3", flush=True)
if seed in (14, 15):
    os.kill(os.getpid(), 9)
if seed == 99:
    time.sleep(60)
record = json.loads((runs / "template.json").read_text())
record["job"].update(learner=job["learner"], generator=job["generator"], seed=seed)
(Path(job["out"]) / "record.json").write_text(json.dumps(record))
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "worker.py").write_text(STAND_IN)
    (folder / "template.json").write_text(recorded().model_dump_json())
    monkeypatch.setattr(matrix, "WORKER", (sys.executable, str(folder / "worker.py")))


def recorded(**values: Any) -> Record:
    """What the stand-in leaves: scores of every way of making prompts on the colours' halves."""
    return factory.record(dataset="colours", backbone="clip", shots=2, **values)


@pytest.fixture
def planned(world: Path, tmp_path: Path) -> Callable[..., Planned]:
    """Plan one job by hand, in a folder of the run's name."""
    sources = Sources()

    def make(
        learner: str, generator: str, seed: int, needs: str | None = None, **values: Any
    ) -> Planned:
        name = f"{learner}-{generator}-{seed}"
        places = {"runs_dir": tmp_path, "out": tmp_path / name, **values}
        job = asked(world, learner=learner, generator=generator, seed=seed, **places)
        prepared = prepare(job, sources=sources)
        return Planned(asked=MatrixJob(job=job), prepared=prepared, name=name, needs=needs)

    return make


def order(runs: Path) -> list[str]:
    return (runs / "order.txt").read_text().splitlines()


def test_plan_drops_repeats_and_puts_learners_first(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    shared = Shared(data="colours", backbone="./clip", shots=3)
    generated = shared.job("cocoop", 1, generator="diffusion")
    alone = shared.job("cocoop", 1)
    jobs = [generated, alone, generated, shared.job("cocoop", 2)]
    found = plan([MatrixJob(job=job) for job in jobs])
    assert [(p.job.generator, p.job.seed) for p in found] == [
        ("none", 1), ("none", 2), ("diffusion", 1),
    ]  # fmt: skip
    assert found[2].needs == found[0].name
    assert found[0].needs is None
    assert found[0].title == "colours cocoop seed 1"


def test_study_names_every_learner_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"(?s)cocop: .*'cocoop'.*map: "):
        base_to_new_jobs(Shared(data="scenes"), ["cocop", "map", "coop"], [1, 2])


def test_plug_in_study_holds_rivals_and_sweeps_of_its_focus_only() -> None:
    jobs = plug_in_jobs(
        Shared(data="scenes"), learners=("coop", "cocoop"), seeds=(1, 2), generators=("diffusion",)
    )
    methods = [(j.job.learner, j.job.generator, j.job.setting) for j in jobs if j.job.seed == 1]
    assert methods[:4] == [
        ("coop", "none", ""), ("cocoop", "none", ""),
        ("coop", "diffusion", ""), ("cocoop", "diffusion", ""),
    ]  # fmt: skip
    assert methods[4:] == [("cocoop", "diffusion", f"overfit.steps={k}") for k in range(1, 11)]
    assert [j.evaluation.nfe for j in jobs[2:4]] == [(), NFE]
    assert jobs[-1].job.overrides == ("overfit.steps=10",)
    with pytest.raises(ConfigError, match=r"--sweep-for.*\['coop'\].*\['vpt'\]"):
        plug_in_jobs(
            Shared(data="scenes"), learners=("coop",), seeds=(1,), generators=("diffusion",),
            rivals_for=(), sweep_for=("vpt",),
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"--steps: expected at least 1, got \[0, 2\]"):
        plug_in_jobs(
            Shared(data="scenes"), learners=("cocoop",), seeds=(1,), generators=("diffusion",),
            steps=(0, 2),
        )  # fmt: skip
    assert StudyArgs().rivals_for == StudyArgs().sweep_for == FOCUS
    few = plug_in_jobs(
        Shared(data="scenes"), learners=("cocoop",), seeds=(1,), generators=("diffusion",),
        steps=(2, 7), controls="basic",
    )  # fmt: skip
    assert [j.job.setting for j in few[2:]] == ["overfit.steps=2", "overfit.steps=7"]
    asked_for = few[1].evaluation.variants("diffusion")
    assert [v.control for v in asked_for if v.prompts == "control"] == ["regression", "shuffled"]
    assert Variant.own() in asked_for


def test_a_step_of_the_sweep_that_is_the_default_is_the_main_run(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    shared = Shared(data="colours", backbone="./clip", shots=3)
    jobs = plug_in_jobs(shared, learners=("cocoop",), seeds=(1,), generators=("diffusion",))
    found = plan(jobs)
    settings = {p.job.setting for p in found}
    assert len(found) == len(jobs) - 1
    assert "overfit.steps=5" not in settings
    assert {p.needs for p in found} == {None, found[0].name}


def test_a_run_that_lacks_a_score_is_not_finished(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    job = planned("cocoop", "diffusion", 1, None)
    run_matrix([job], results=None, parallel=1, threads=1)
    assert job.is_finished
    more = MatrixJob(job=job.job, evaluation=Evaluation(nfe=(3,)))
    assert not replace(job, asked=more).is_finished


def test_a_finished_run_of_other_data_is_not_taken(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders ``a/colours`` and ``b/colours``: a copy must not be of the wrong one's run."""
    stand_in(tmp_path, monkeypatch)
    job = planned("cocoop", "none", 1)
    run_matrix([job], results=None, parallel=1, threads=1)
    job.folder.open(run_of(job.prepared))  # as training does first
    assert job.is_finished
    twin = make_pictures(tmp_path / "b" / "colours", seed=1)
    other = planned("cocoop", "none", 1, data=str(twin))
    assert other.folder.path == job.folder.path  # they say --out; without it they are two
    with pytest.raises(
        ConfigError, match="cocoop-none-1: holds another run; the content of images"
    ):
        run_matrix([other], results=tmp_path / "results", parallel=1, threads=1)
    assert not (tmp_path / "results").exists()


def test_a_run_whose_test_pictures_changed_is_not_finished(world: Path, tmp_path: Path) -> None:
    data = shutil.copytree(world / "colours", tmp_path / "colours")
    job = asked(world, data=str(data), learner="zero-shot", runs_dir=tmp_path / "runs")
    (found,) = plan([MatrixJob(job=job)])
    assert not found.is_finished
    evaluate_run(train_job(job))
    assert found.is_finished
    items = found.prepared.roles.tests["new"].items
    (data / items[0].path).write_bytes((data / items[-1].path).read_bytes())
    (found,) = plan([MatrixJob(job=job)])
    assert found.folder.is_trained
    assert not found.is_finished


def test_jobs_wait_for_their_learner_and_records_are_kept(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    jobs = [
        planned("cocoop", "diffusion", 1, "cocoop-none-1"),
        planned("cocoop", "none", 1, None),
        planned("coop", "none", 1, None),
    ]
    results = tmp_path / "results"
    assert run_matrix(jobs, results=results, parallel=2, threads=3) == ()
    assert sorted(order(tmp_path)[:2]) == ["cocoop+none 1 3", "coop+none 1 3"]
    assert order(tmp_path)[2] == "cocoop+diffusion 1 3"
    assert {p.name for p in results.iterdir()} == {f"{p.name}.json" for p in jobs}
    assert run_matrix(jobs, results=results, parallel=2, threads=1) == ()
    assert len(order(tmp_path)) == 3  # what is finished is not repeated


def test_a_failure_stops_only_what_waits_for_it(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    jobs = [
        planned("cocoop", "none", 13, None),
        planned("cocoop", "diffusion", 13, "cocoop-none-13"),
        planned("coop", "none", 1, None),
    ]
    failures = run_matrix(jobs, results=None, parallel=1, threads=1)
    assert [f.planned.name for f in failures] == ["cocoop-none-13", "cocoop-diffusion-13"]
    assert failures[0].error == "bad luck"
    assert failures[0].log_file == tmp_path / "cocoop-none-13" / "log.txt"
    assert "needs colours cocoop seed 13" in failures[1].error
    assert order(tmp_path) == ["cocoop+none 13 1", "coop+none 1 1"]


def test_a_silent_death_is_not_told_as_an_error_before_it(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an error of an earlier process, which the same file holds, nor one that it survived."""
    stand_in(tmp_path, monkeypatch)
    jobs = [planned("coop", "none", seed, None) for seed in (14, 15)]
    for job in jobs:
        job.folder.path.mkdir()
        (job.folder.path / "log.txt").write_text("error: no space left\n")
    found = [f.error for f in run_matrix(jobs, results=None, parallel=1, threads=1)]
    assert found == ["epoch 3 (exit code -9)", "no word (exit code -9)"]
    kept = (jobs[1].folder.path / "log.txt").read_text()
    assert kept == "error: no space left\n"


def test_a_record_of_the_same_job_under_other_settings_gives_way(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    results = factory.write(tmp_path, [recorded(generator="none", seed=s) for s in (1, 2)])
    folder = results / "colours"
    job = planned("cocoop", "none", 1, None)
    run_matrix([job], results=folder, parallel=1, threads=1)
    assert records_of(folder) == ["cocoop-none-1.json", "cocoop-none-2.json"]
    assert records_of(folder / ".replaced") == []
    renamed = tmp_path / "renamed"
    other = replace(planned("cocoop", "none", 1, out=renamed), name="renamed")
    renamed.mkdir()
    (renamed / "record.json").write_bytes(job.folder.record.read_bytes())
    run_matrix([other], results=folder, parallel=1, threads=1)
    assert records_of(folder) == ["cocoop-none-2.json", "renamed.json"]
    assert records_of(folder / ".replaced") == ["cocoop-none-1.json"], "nothing is lost"
    assert len(find_records([folder]).files) == 2, "and nothing is read twice"


def test_a_record_with_other_scores_is_not_written_over(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    job, folder = planned("cocoop", "none", 1, None), tmp_path / "results"
    run_matrix([job], results=folder, parallel=1, threads=1)
    kept, asked = folder / f"{job.name}.json", read_record(job.folder.record)
    more = asked.scores[0].model_copy(update={"dataset": "elsewhere"})
    before = ((*asked.scores, more), asked.scores[1:], (*asked.scores[1:], more))
    for scores, aside in zip(before, (1, 1, 2), strict=True):
        kept.write_text(asked.model_copy(update={"scores": scores}).model_dump_json())
        run_matrix([job], results=folder, parallel=1, threads=1)
        assert read_record(kept).scores == asked.scores
        assert len(records_of(folder / ".replaced")) == aside
    first, second = sorted((folder / ".replaced").iterdir(), key=lambda path: len(path.name))
    assert [len(read_record(path).scores) for path in (first, second)] == [
        len(before[0]), len(before[2])
    ]  # fmt: skip
    kept.write_text("[" * 100_000)  # whatever it is, it is not lost
    run_matrix([job], results=folder, parallel=1, threads=1)
    assert read_record(kept).scores == asked.scores
    assert len(records_of(folder / ".replaced")) == 3


def records_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.json"))


def test_other_files_among_the_records_are_left_alone(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the study's own summary; a broken record is for the report to say."""
    stand_in(tmp_path, monkeypatch)
    folder = tmp_path / "results"
    folder.mkdir()
    others = {"summary.json": '{"schema_name": "some-summary/1"}', "broken.json": "[" * 100_000}
    for name, text in others.items():
        (folder / name).write_text(text)
    job = planned("cocoop", "none", 1, None)
    assert not run_matrix([job], results=folder, parallel=1, threads=1)
    for name, text in others.items():
        assert (folder / name).read_text() == text
    assert (folder / "cocoop-none-1.json").is_file()


def test_a_copied_record_has_the_setting_that_this_study_asks(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of ``overfit.steps=5`` is the main run, whichever study was first to make it."""
    stand_in(tmp_path, monkeypatch)
    steps = planned("cocoop", "diffusion", 1, None)
    object.__setattr__(steps.job, "setting", "overfit.steps=5")
    run_matrix([steps], results=tmp_path / "sweep", parallel=1, threads=1)
    main = planned("cocoop", "diffusion", 1, None)
    results = factory.write(tmp_path, [recorded(seed=1)]) / "colours"
    run_matrix([main], results=results, parallel=1, threads=1)
    assert len(order(tmp_path)) == 1
    (copy,) = results.glob("*.json")  # the older record of the main run has given way
    assert copy.name == f"{main.name}.json"
    assert read_record(copy).job.setting == ""
    assert read_record(tmp_path / "sweep" / copy.name).job.setting == "overfit.steps=5"
    assert read_record(copy).scores == read_record(main.folder.record).scores


def test_an_interruption_stops_what_runs(
    tmp_path: Path, planned: Callable[..., Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    jobs = [planned("coop", "none", 99, None)]
    alarm, seen = matrix.time.sleep, []

    def interrupt(seconds: float) -> None:
        alarm(seconds)
        if (tmp_path / "order.txt").exists():
            seen.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(matrix.time, "sleep", interrupt)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_matrix(jobs, results=None, parallel=1, threads=1)
    assert seen
    assert time.monotonic() - start < 30  # the job would have slept for a minute


def test_a_worker_stops_when_its_parent_is_gone(tmp_path: Path) -> None:
    """Kill -9 of the matrix must not leave jobs that a repeated call would run into."""
    code = "import diffuprompt.matrix.worker as w, time; w.work = lambda s: time.sleep(60); "
    code += "w.main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"{}\n")
    process.stdin.close()  # what the end of the parent does
    assert process.wait(timeout=60) in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_a_study_from_the_command_line(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    words = ("study", "base-to-new", "--data", "colours", "--backbone", "./clip", "--shots", 3)
    words += ("--learners", "zero-shot", "--seeds", 1, "--runs-dir", tmp_path / "runs")
    words += ("--results", tmp_path / "results")
    listed = command(*words, "--dry-run")
    assert listed.code == 0, listed.err
    assert "to do" in listed.out
    assert not (tmp_path / "runs").exists()
    done = command(*words)
    assert done.code == 0, done.out + done.err
    (copy,) = (tmp_path / "results" / "base-to-new-colours").iterdir()
    record = read_record(copy)
    assert record.job.learner == "zero-shot"
    assert record.environment["threads"] == "1"
    assert "done" in command(*words, "--dry-run").out
    (run,) = (tmp_path / "runs").glob("[!.]*")
    assert json.loads((run / "run.json").read_text())["job"]["data"].endswith("colours")
    assert os.path.getsize(run / "log.txt")


def test_a_job_says_how_honest_it_is_where_that_takes_no_training(
    world: Path, tmp_path: Path
) -> None:
    """Before it is scored, so that a record which is there says so."""
    data = make_pictures(tmp_path / "colours", splits=("train", "val", "test"))
    same = {"learner": "zero-shot", "protocol": "few-shot", "runs_dir": tmp_path / "runs"}
    (job,) = plan([MatrixJob(job=asked(world, **same, data=str(data)))])
    work(json.dumps(job.message()))
    found = read_record(job.record).statistics
    assert 0 <= found["ece_after"] <= 100
    assert 0 <= found["unknown_auroc_energy"] <= 100
    told = json.loads((job.path / "artifact" / "artifact.json").read_text())
    assert told["calibration"]["pictures"] == 36


def test_a_job_is_also_scored_on_further_data_sets(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One training; a run that lacks one of the test sets is not finished."""
    monkeypatch.chdir(world)
    grey = write_shifted(
        open_dataset(world / "colours"), tmp_path / "made", kind="grey", severity=5
    )
    job = asked(world, learner="zero-shot", runs_dir=tmp_path / "runs")
    (alone,) = plan([MatrixJob(job=job)])
    (found,) = plan([MatrixJob(job=replace(job, test_data=(str(grey),)))])
    assert found.name == alone.name
    work(json.dumps(alone.message()))
    assert alone.is_finished
    assert "ece_before" not in read_record(alone.record).statistics  # too few validation pictures
    assert not found.is_finished
    work(json.dumps(found.message()))
    assert found.is_finished
    scored = {(score.dataset, score.subset) for score in read_record(found.record).scores}
    assert scored == {("colours", "base"), ("colours", "new"), ("grey-5", "all")}
