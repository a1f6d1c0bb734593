"""Other test sets of a run: which are refused, which are scored, and with which sentences."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.data.layouts import build_layout
from tests.world import CLASSES, asked, command, make_pictures

from diffuprompt.data.registry import Registered, register
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.train import train_job
from diffuprompt.record import Record, read_record

PLAIN = Evaluation(controls="none", oracle=False)


@pytest.fixture
def job(world: Path, tmp_path: Path) -> JobConfig:
    """Zero-shot on the colours, which are scored on paint too."""
    paint = make_pictures(tmp_path / "paint", CLASSES[:3], seed=3)
    places = {"runs_dir": tmp_path / "runs", "test_data": (str(paint),)}
    return asked(world, learner="zero-shot", protocol="cross-dataset", **places)


def names(record: Record) -> list[str]:
    return [score.dataset for score in record.scores]


def test_a_run_that_has_targets_is_scored_on_any_other_data(job: JobConfig, tmp_path: Path) -> None:
    ink = make_pictures(tmp_path / "ink", CLASSES[3:], seed=4)
    run = train_job(job)
    record = read_record(evaluate_run(run, evaluation=PLAIN, data=[str(ink)]))
    assert names(record) == ["ink"]


def test_class_bound_learners_are_told_to_leave_out_other_data(job: JobConfig) -> None:
    bound = replace(job, learner="coop", protocol="few-shot", overrides=("class_specific=true",))
    with pytest.raises(ConfigError, match="other data sets; leave out --test-data"):
        prepare(bound)


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """Two domains of two classes."""
    for seed, domain in enumerate(("pen", "oil")):
        make_pictures(tmp_path / "all" / "styles" / domain, CLASSES[:2], seed=seed)
    return tmp_path / "all" / "styles"


def test_domains_that_all_train_are_told_to_name_some(world: Path, styles: Path) -> None:
    pooled = asked(world, data=str(styles), layout="domains", protocol="domain")
    with pytest.raises(ConfigError, match="there is none; name it with --train-domains"):
        prepare(pooled)


def test_domains_are_found_by_a_users_name_and_below_the_folder_of_data(
    world: Path, styles: Path
) -> None:
    register("mine", Registered(path=str(styles)))
    domains = {"layout": "domains", "train_domains": ("pen",), "protocol": "domain"}
    by_name = prepare(asked(world, data="mine", **domains))
    below = prepare(asked(world, data="styles", data_root=styles.parent, **domains))
    assert by_name.manifest.root == below.manifest.root == styles
    assert [t.title for p in (by_name, below) for t in p.targets] == ["mine-oil", "styles-oil"]
    assert by_name.inputs == below.inputs


# Sentences


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet and DTD in miniature, and DTD's test pictures as a user's own folder."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("imagenet", "dtd"):
        build_layout(name, folder, per_class=2)
    dtd = open_dataset("dtd", root=folder)
    for copy in ("contrast-1", "mine/dtd"):
        for item in dtd.splits["test"]:
            place = folder / copy / "test" / dtd.classes[item.label] / Path(item.path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dtd.root / item.path, place)
    return folder


@pytest.mark.parametrize(
    ("source", "target", "values", "alone"),
    [
        ("imagenet", "dtd", {"preset": "ensemble"}, {"preset": "ensemble"}),
        ("imagenet", "dtd", {"overrides": ("templates=my {}.",)}, {"templates": ("my {}.",)}),
        ("imagenet", "dtd", {"templates": ("dataset",)}, {}),
        ("dtd", "contrast-1", {}, {}),  # other pictures of the same classes
        ("imagenet", "mine/dtd", {}, {"templates": ("single",)}),  # it has the name alone
    ],
)
def test_zero_shot_reads_the_same_sentences_alone_and_as_a_target(
    world: Path,
    published: Path,
    tmp_path: Path,
    source: str,
    target: str,
    values: dict[str, Any],
    alone: dict[str, Any],
) -> None:
    same = {"learner": "zero-shot", "data_root": published, "runs_dir": tmp_path, "shots": 1}
    spec = target if target == "dtd" else str(published / target)
    job = asked(world, data=source, protocol="cross-dataset", test_data=(spec,), **same, **values)
    found = read_record(evaluate_run(train_job(job), evaluation=PLAIN)).scores[1]
    assert found.dataset == Path(target).name
    expected = asked(world, data="dtd", protocol="few-shot", **same, **alone)
    (score,) = read_record(evaluate_run(train_job(expected), evaluation=PLAIN)).scores
    assert found.total == score.total
    assert found.metrics["nll"] == pytest.approx(score.metrics["nll"], rel=1e-5)


# Test sets that come and go


def test_a_test_set_that_is_gone_keeps_its_scores_and_holds_nothing_up(
    job: JobConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train_job(job)
    before = read_record(evaluate_run(run, evaluation=PLAIN))
    ink = make_pictures(tmp_path / "ink", CLASSES[3:], seed=4)
    shutil.rmtree(tmp_path / "paint")
    with caplog.at_level(logging.WARNING, logger="diffuprompt"):
        again = read_record(evaluate_run(run, evaluation=PLAIN, again=True))
    assert f"not here any more: {tmp_path / 'paint'}" in caplog.text
    assert [(s.dataset, s.hits) for s in again.scores] == [
        (s.dataset, s.hits) for s in reversed(before.scores)
    ]
    more = evaluate_run(run, evaluation=PLAIN, test_data=[str(ink)])  # as a matrix does today
    assert sorted(names(read_record(more))) == ["colours", "ink", "paint"]
    with pytest.raises(DataError, match="paint: neither a path"):  # it was asked for today
        evaluate_run(run, evaluation=PLAIN, test_data=job.test_data)


def test_only_what_has_no_images_is_left_out_of_the_defaults(
    world: Path, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged target is no absent one."""
    same = {"data": "imagenet", "data_root": published, "learner": "zero-shot", "shots": 1}
    job = asked(world, protocol="cross-dataset", **same)
    with caplog.at_level(logging.WARNING, logger="diffuprompt"):
        assert prepare(job).job.test_data == ("dtd",)
    assert "not here: caltech101, oxford_pets" in caplog.text
    split = published / "dtd" / "split_zhou_DescribableTextures.json"
    whole = split.read_text()
    try:
        split.write_text(whole[:-9])
        with pytest.raises(DataError, match="split_zhou_DescribableTextures"):
            prepare(job)
    finally:
        split.write_text(whole)


def test_train_scores_test_sets_that_a_run_was_not_made_for(world: Path, tmp_path: Path) -> None:
    words = ["train", "--data", world / "colours", "--backbone", world / "clip", "--shots", 2]
    words += ["--learner", "zero-shot", "--workers", 0, "--runs-dir", tmp_path / "runs"]
    ink = make_pictures(tmp_path / "ink of mine", CLASSES[3:], seed=4)
    for test_data in ([], ["--test-data", ink]):
        done = command(*words, *test_data)
        assert done.code == 0, done.err
    (path,) = (tmp_path / "runs").glob("*/record.json")
    assert names(read_record(path)) == ["colours", "ink of mine"]
    later = command(*words, "--test-data", ink, "--no-evaluate")
    assert f"diffuprompt evaluate {path.parent} --data '{ink}'" in later.out


def test_the_open_world_is_of_the_runs_own_classes(job: JobConfig, tmp_path: Path) -> None:
    ink = make_pictures(tmp_path / "ink", CLASSES[3:], seed=4)
    run = train_job(replace(job, protocol="base-to-new", test_data=()))
    opened = replace(PLAIN, open_world=True)
    with pytest.raises(ConfigError, match="only the run's own data set has base and new"):
        evaluate_run(run, evaluation=opened, data=[str(ink)])
    scores = read_record(evaluate_run(run, evaluation=opened, data=[str(ink), "colours"])).scores
    assert {s.subset for s in scores if s.dataset == "colours"} == {"base", "new", "open"}


def test_a_damaged_picture_of_a_target_stops_a_job_before_it_trains(
    job: JobConfig, tmp_path: Path
) -> None:
    for picture in (tmp_path / "paint" / CLASSES[0]).iterdir():  # some are test pictures
        picture.write_bytes(picture.read_bytes()[:90])
    with pytest.raises(DataError, match=r"black.*\.png"):
        train_job(job)
    assert not (tmp_path / "runs").exists()


def test_test_sets_of_one_name_and_the_jobs_own_are_refused(job: JobConfig, world: Path) -> None:
    (paint,) = job.test_data
    twin = shutil.copytree(paint, Path(paint).parent / "twins" / "paint")
    with pytest.raises(ConfigError, match="'paint' is there twice"):
        prepare(replace(job, test_data=(paint, str(twin))))
    with pytest.raises(ConfigError, match="'colours' is the job's own data set"):
        prepare(replace(job, test_data=(str(world / "colours"),)))
