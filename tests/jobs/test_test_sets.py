"""One run, many test sets: what is scored, when again, and what changed pictures mean."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.world import CLASSES, COLOURS, SIDE, asked, make_pictures

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.jobs.train import train_job
from diffuprompt.learners.methods import METHODS
from diffuprompt.record import Record, Score, read_record
from diffuprompt.runs import contents
from diffuprompt.stages import learner as learner_stage, score as score_stage


@pytest.fixture(autouse=True)
def _remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hashes of files that were written just now be remembered, as those of old files are."""
    monkeypatch.setattr(contents, "FRESH_S", -1e9)


@pytest.fixture
def data(world: Path, tmp_path: Path) -> Path:
    """The colours, to be changed."""
    return shutil.copytree(world / "colours", tmp_path / "data" / "colours")


@pytest.fixture
def trained(world: Path, data: Path, tmp_path: Path) -> tuple[JobConfig, Path]:
    """A job on `data`, and its run."""
    runs = tmp_path / "runs"
    job = asked(world, data=str(data), runs_dir=runs, overrides=("epochs=1",))
    return job, train_job(job)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been scored so far; what is only read again is not in it."""
    names: list[str] = []
    run = score_stage._Scoring.run

    def noted(self: Any) -> Any:
        names.append(self.label)
        return run(self)

    monkeypatch.setattr(score_stage._Scoring, "run", noted)
    return names


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on training fails."""

    def train(*args: object) -> None:
        raise AssertionError("it is trained already")

    monkeypatch.setattr(learner_stage, "_train", train)


def repaint(path: Path, *, hidden: bool = True) -> None:
    """Replace the bytes of a picture; ``hidden`` keeps its size and the time of its change."""
    stat = path.stat()
    pixels = np.random.default_rng(9).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    if hidden:
        assert path.stat().st_size < stat.st_size
        path.write_bytes(path.read_bytes().ljust(stat.st_size, b"\0"))  # behind the end of the PNG
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def pictures_of(job: JobConfig, role: str) -> list[Path]:
    prepared = prepare(job)
    roles = prepared.roles
    items = roles.train.items if role == "train" else roles.tests[role].items
    return [prepared.manifest.root / item.path for item in items]


def where(record: Record) -> list[tuple[str, str]]:
    return [(s.dataset, s.subset) for s in record.scores]


def result(score: Score) -> dict[str, Any]:
    return score.model_dump(exclude={"timings"})


# Changed pictures


@pytest.mark.parametrize("how", ["openly", "hidden", "copied"])
def test_changed_training_pictures_are_another_run(
    trained: tuple[JobConfig, Path], tmp_path: Path, how: str
) -> None:
    """The same command said that the run was trained already, and reported the old accuracy."""
    job, run = trained
    evaluate_run(run)
    assert train_job(job) == run
    path = pictures_of(job, "train")[0]
    if how == "copied":  # a file of its own, with size and times of the one that it replaces
        copy = Path(shutil.copy2(path, tmp_path / "copy.png"))
        repaint(copy)
        os.replace(copy, path)
    else:
        repaint(path, hidden=how == "hidden")
    other = train_job(job)
    assert other != run
    assert (other / "artifact" / "artifact.json").exists()
    with pytest.raises(ConfigError, match="holds another run; the content of images is"):
        train_job(replace(job, out=run))
    with pytest.raises(ConfigError, match=r"trained on something else than is there now.*images"):
        evaluate_run(run)


def test_changed_test_pictures_are_scored_again(
    trained: tuple[JobConfig, Path],
    scored: list[str],
    no_training: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job, run = trained
    first = read_record(evaluate_run(run))
    assert train_job(job) == run
    assert len(scored) == 2
    for path in pictures_of(job, "new"):
        repaint(path)
    assert train_job(job) == run  # its own pictures are as they were
    with caplog.at_level(logging.WARNING, logger="diffuprompt"):
        second = read_record(evaluate_run(run))
    assert scored[2:] == ["scoring own (colours, new)"]
    assert where(second) == where(first)
    old, new = ({s.subset: s for s in record.scores} for record in (first, second))
    assert new["base"] == old["base"]
    assert new["new"].content != old["new"].content
    assert new["new"].metrics != old["new"].metrics


def test_scores_of_pictures_that_changed_leave_the_record_with_a_word(
    world: Path, data: Path, tmp_path: Path, scored: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Also those that this evaluation did not ask for anew."""
    fast = ("epochs=1", "fit.epochs=1", "overfit.steps=1", "overfit.lr=0.1")
    job = asked(
        world, data=str(data), runs_dir=tmp_path, learner="coop", generator="mlp", overrides=fast
    )
    run = train_job(job)
    first = read_record(evaluate_run(run, evaluation=Evaluation(oracle=False)))
    labels = {s.variant.label for s in first.scores}
    assert labels == {"own", "mlp", "shuffled", "noise", "nearest", "mean"}
    for path in pictures_of(job, "new"):
        repaint(path)
    with caplog.at_level(logging.WARNING, logger="diffuprompt"):
        second = read_record(evaluate_run(run, evaluation=Evaluation(controls="none")))
    assert "the images of colours, new have changed since they were scored" in caplog.text
    left = {subset: {s.variant.label for s in second.scores if s.subset == subset} for subset in (
        "base", "new"
    )}  # fmt: skip
    assert left == {"base": labels, "new": {"own", "mlp"}}
    contents = {s.content for s in second.scores if s.subset == "new"}
    assert len(contents) == 1
    assert contents.isdisjoint({s.content for s in first.scores})


# Again


def test_nothing_is_scored_twice_unless_it_is_asked(
    trained: tuple[JobConfig, Path], scored: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """ "Delete record.json to do it again" gave back the old scores, and that was the only way."""
    run = trained[1]
    stages = run.parent / ".stages" / "score"
    first = evaluate_run(run).read_bytes()
    done = {path: path.read_bytes() for path in stages.glob("*/done.json")}
    results = {path: path.read_bytes() for path in stages.glob("*/score.json")}
    assert len(scored) == len(done) == len(results) == 2
    with caplog.at_level(logging.INFO, logger="diffuprompt"):
        assert evaluate_run(run).read_bytes() == first
    assert "is evaluated already; --again scores it anew" in caplog.text
    assert len(scored) == 2
    again = read_record(evaluate_run(run, again=True))
    assert len(scored) == 4
    for path, content in (done | results).items():
        assert path.read_bytes() != content  # timings differ
    before = Record.model_validate_json(first)
    assert [result(s) for s in again.scores] == [result(s) for s in before.scores]
    assert all(a.timings != b.timings for a, b in zip(again.scores, before.scores, strict=True))
    # what was lost is only put together again
    (run / "record.json").unlink()
    restored = read_record(evaluate_run(run))
    assert len(scored) == 4
    assert restored.scores == again.scores
    assert restored.statistics == again.statistics


# Other test sets


def test_a_run_is_scored_on_other_data_sets_without_training(
    trained: tuple[JobConfig, Path], tmp_path: Path, scored: list[str], no_training: None
) -> None:
    job, run = trained
    own = read_record(evaluate_run(run))
    other = make_pictures(tmp_path / "paint", CLASSES[1:], seed=3)
    found = read_record(evaluate_run(run, data=[str(other)]))
    assert found.scores[:2] == own.scores
    assert where(found)[2:] == [("paint", "all")]
    score = found.scores[2]
    prepared = prepare(replace(job, data=str(other), protocol="few-shot"))
    assert score.total == len(prepared.roles.tests["all"].items)
    assert found.job == own.job
    assert found.score(score.variant, "all", "paint") == score
    assert len(scored) == 3
    halves = read_record(evaluate_run(run, data=[f"{other}:base", f"{other}:new"]))
    assert where(halves)[3:] == [("paint", "base"), ("paint", "new")]
    assert halves.scores[:3] == found.scores
    base, new = halves.scores[3:]
    assert base.total + new.total == score.total
    assert len(scored) == 5
    assert (
        evaluate_run(run, data=[str(other), f"{other}:new"]).read_bytes()
        == (run / "record.json").read_bytes()
    )
    assert len(scored) == 5


def test_the_scores_of_a_half_are_of_its_names_only(
    trained: tuple[JobConfig, Path], data: Path
) -> None:
    """The run's own halves, opened as another data set: equal images and names, equal scores."""
    run = trained[1]
    twin = shutil.copytree(data, data.parent.parent / "elsewhere" / "twin")
    specs = [f"{twin}:base", f"{twin}:new"]
    found = read_record(evaluate_run(run, data=specs))
    own = read_record(evaluate_run(run))
    by = {(s.dataset, s.subset): s for s in own.scores}
    assert where(found) == [("twin", "base"), ("twin", "new")]
    for subset in ("base", "new"):
        one, two = by["colours", subset], by["twin", subset]
        assert (one.hits, one.metrics, one.content) == (two.hits, two.metrics, two.content)


def test_the_runs_own_name_means_its_own_protocol(
    trained: tuple[JobConfig, Path], tmp_path: Path, data: Path
) -> None:
    run = trained[1]
    other = make_pictures(tmp_path / "paint", seed=3)
    for own in ("colours", str(data)):
        found = read_record(evaluate_run(run, data=[str(other), own]))
        assert sorted(where(found)) == [
            ("colours", "base"), ("colours", "new"), ("paint", "all"),
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "csv", "split"])
def test_a_data_set_of_test_images_alone_can_be_tested_on(
    trained: tuple[JobConfig, Path], tmp_path: Path, kind: str
) -> None:
    job, run = trained
    folder = make_pictures(tmp_path / "only", splits=("test",))
    rows = [(f"test/{n}/{i}.png", CLASSES.index(n), n) for n in COLOURS for i in range(6)]
    spec = folder
    if kind == "csv":
        spec = folder / "only.csv"
        spec.write_text("path,label,split\n" + "".join(f"{p},{n},test\n" for p, _, n in rows))
    if kind == "split":
        spec = folder / "only.json"
        spec.write_text(json.dumps({"test": rows}))
    found = read_record(evaluate_run(run, data=[str(spec)]))
    assert [(s.dataset, s.subset, s.total) for s in found.scores] == [("only", "all", len(rows))]
    with pytest.raises(DataError, match="has no image in train"):
        train_job(replace(job, data=str(spec)))


def test_two_test_sets_of_one_name_are_refused(
    trained: tuple[JobConfig, Path], tmp_path: Path, scored: list[str]
) -> None:
    run = trained[1]
    one = make_pictures(tmp_path / "a" / "paint", seed=3)
    two = make_pictures(tmp_path / "b" / "paint", seed=4)
    copy = shutil.copytree(one, tmp_path / "c" / "paint")
    with pytest.raises(ConfigError, match=r"two different test sets .* 'paint, all'; rename"):
        evaluate_run(run, data=[str(one), str(two)])
    assert not scored
    assert not (run / "record.json").exists()
    same = read_record(evaluate_run(run, data=[str(one), str(copy)]))
    assert [(s.dataset, s.subset) for s in same.scores] == [("paint", "all")]


def test_a_test_set_that_cannot_be_read_stops_before_anything_is_scored(
    trained: tuple[JobConfig, Path], tmp_path: Path, scored: list[str]
) -> None:
    run = trained[1]
    with pytest.raises(DataError, match="nowhere"):
        evaluate_run(run, data=["colours", str(tmp_path / "nowhere")])
    alone = make_pictures(tmp_path / "alone", CLASSES[:2])
    with pytest.raises(DataError, match="at least two classes"):
        evaluate_run(run, data=[f"{alone}:new"])
    assert not scored


# What was stored counts


def test_a_run_outlives_a_change_of_its_preset(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[str]
) -> None:
    """Evaluation resolved the job anew, and refused a run whose preset had changed since."""
    job = asked(world, runs_dir=tmp_path / "runs", learner="coop", overrides=("epochs=1",))
    run = train_job(job)
    first = read_record(evaluate_run(run))
    method = METHODS["coop"]
    presets = tuple(
        replace(p, train=replace(p.train, lr=0.5, batch=1), options={**p.options, "num_ctx": 3})
        for p in method.presets
    )
    monkeypatch.setitem(METHODS, "coop", replace(method, presets=presets))
    assert prepare(job).resolved.train.lr == 0.5
    assert prepare(job).run_name != run.name
    again = read_record(evaluate_run(run, again=True))
    assert [result(s) for s in again.scores] == [result(s) for s in first.scores]
    assert again.config == first.config
    assert again.config["train"]["lr"] != 0.5
    assert len(scored) == 4
    with pytest.raises(ConfigError, match=r"holds another run; .*train\.lr is"):
        train_job(replace(job, out=run))
    assert read_run(run).resolved.options == first.config["options"]
