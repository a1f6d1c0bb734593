"""Protocols that test other data than they train on, the open world, and every published layout."""

from __future__ import annotations

import logging
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.data.layouts import PUBLISHED, TEST_ONLY, build_layout
from tests.world import CLASSES, IMAGES, asked, command, make_pictures, open_job

from diffuprompt.data import open_dataset, write_shifted
from diffuprompt.errors import ConfigError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.jobs.command import command as command_of
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.job_json import job_from_json, job_to_json
from diffuprompt.jobs.prepared import image_set, prepare
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.jobs.train import train_job
from diffuprompt.learners.presets import all_presets
from diffuprompt.learners.registry import build_learner
from diffuprompt.protocols.cross_dataset import TARGETS
from diffuprompt.record import ZERO_SHOT_NEW, Record, Variant, read_record
from diffuprompt.stages.open_world import ZeroShotForNew

PLAIN = Evaluation(controls="none", oracle=False)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All fifteen published data sets in miniature."""
    folder = tmp_path_factory.mktemp("layouts")
    for name in PUBLISHED:
        build_layout(name, folder, per_class=2)
    return folder


def trained(job: JobConfig, **values: Any) -> Record:
    return read_record(evaluate_run(train_job(job), **{"evaluation": PLAIN, **values}))


def totals(record: Record) -> dict[tuple[str, str], int]:
    return {(s.dataset, s.subset): s.total for s in record.scores}


# Other data sets


def test_zero_shot_reads_each_test_sets_own_sentences(
    world: Path, layouts: Path, tmp_path: Path
) -> None:
    """A score on another data set is the one that a run on that data set gives."""
    same = {"data_root": layouts, "runs_dir": tmp_path, "learner": "zero-shot"}
    job = asked(world, **same, data="imagenet", protocol="cross-dataset", test_data=("dtd",))
    record = trained(job)
    assert totals(record) == {("imagenet", "all"): 8, ("dtd", "all"): 8}
    assert "--test-data dtd" in record.command
    there = record.score(Variant.own(), "all", "dtd")
    alone = asked(world, **same, data="dtd", protocol="few-shot")
    (own,) = trained(alone).scores
    assert there is not None
    assert (there.hits, there.content) == (own.hits, own.content)
    assert there.templates == ("{} texture.",)
    assert own.templates == ()  # the configuration says them
    assert there.metrics == pytest.approx(own.metrics)
    (single,) = trained(replace(alone, templates=("single",))).scores
    assert single.metrics["nll"] != pytest.approx(own.metrics["nll"])


def test_the_domains_of_imagenet_are_scored_among_their_own_names(
    world: Path, layouts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = {"data": "imagenet", "data_root": layouts, "runs_dir": tmp_path, "shots": 1}
    job = asked(world, **same, protocol="domain", learner="zero-shot")
    prepared = prepare(job)
    names = {t.manifest.name: len(t.manifest.classes) for t in prepared.targets}
    assert names == {"imagenetv2": 4, "imagenet_sketch": 4, "imagenet_a": 3, "imagenet_r": 3}
    assert totals(trained(job)).keys() == {(n, "all") for n in ("imagenet", *TEST_ONLY)}
    os.rename(layouts / "imagenetv2", tmp_path / "away")
    try:
        with caplog.at_level(logging.WARNING, logger="diffuprompt"):
            less = prepare(job)
    finally:
        os.rename(tmp_path / "away", layouts / "imagenetv2")
    assert "not scored, since they are not here: imagenetv2" in caplog.text
    assert less.job.test_data == ("imagenet_sketch", "imagenet_a", "imagenet_r")
    assert less.run_name == prepared.run_name  # the same training


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in TEST_ONLY])
def test_every_layout_trains_and_is_scored_by_every_protocol(
    name: str, world: Path, layouts: Path, tmp_path: Path
) -> None:
    """Every test picture counts exactly once; the domains are those of ImageNet, or made here."""
    pictures = open_dataset(name, root=layouts, check=False).splits["test"]
    grey = str(write_shifted(open_dataset(name, root=layouts), tmp_path, kind="grey", severity=5))
    other = "eurosat" if name == "dtd" else "dtd"
    domains = {t: 2 * len(PUBLISHED[t]) for t in TEST_ONLY}
    targets = {
        "base-to-new": {},
        "few-shot": {},
        "cross-dataset": {other: 8, **domains},
        "domain": domains if name == "imagenet" else {Path(grey).name: 8},
    }
    same = {"data": name, "data_root": layouts, "shots": 1, "learner": "linear-probe"}
    for protocol, others in targets.items():
        asked_for = tuple(others) if protocol == "cross-dataset" else ()
        if protocol == "domain" and name != "imagenet":
            asked_for = (grey,)
        job = asked(
            world, **same, protocol=protocol, test_data=asked_for, runs_dir=tmp_path / "runs",
            overrides=("epochs=1",), templates=("single",),  # the tiny text tower has few places
        )  # fmt: skip
        record = trained(job)
        assert (record.job.protocol, record.job.dataset) == (protocol, name)
        scored = totals(record)
        own = [scored.pop((name, part)) for part in tuple(p for n, p in scored if n == name)]
        assert sum(own) == len(pictures)
        assert len(own) == (2 if protocol == "base-to-new" else 1)
        assert scored == {(n, "all"): total for n, total in others.items()}


# Domains


def test_domains_train_together_and_are_left_out(world: Path, tmp_path: Path) -> None:
    styles = tmp_path / "styles"
    for seed, domain in enumerate(("ink", "oil", "pen")):
        make_pictures(styles / domain, seed=seed)
    words = ["--backbone", world / "clip", "--learner", "coop", "--shots", 2, "--set", "epochs=1"]
    words += ["--runs-dir", tmp_path / "runs", "--workers", 0, "--device", "cpu"]
    domains = ["--data", styles, "--layout", "domains", "--train-domains", "oil", "ink"]
    done = command("train", *domains, *words)
    assert done.code == 0, done.err
    assert "styles-pen (all)" in done.out
    (run,) = (tmp_path / "runs").glob("styles-ink+oil-*")
    record = read_record(run / "record.json")
    assert record.job.protocol == "domain"
    assert totals(record)["styles-pen", "all"] == len(CLASSES) * IMAGES
    assert totals(record).keys() == {("styles-ink+oil", "all"), ("styles-pen", "all")}
    stored = read_run(run).job
    assert stored.train_domains == ("oil", "ink")
    assert job_from_json(job_to_json(stored)) == stored
    assert "--layout domains --train-domains oil ink" in command_of(stored)
    assert command("evaluate", run).code == 0  # nothing is missing


def test_a_list_of_domains_needs_domains(world: Path) -> None:
    with pytest.raises(ConfigError, match="they need layout=domains"):
        asked(world, train_domains=("ink",))
    with pytest.raises(ConfigError, match="few-shot tests no other domains"):
        asked(world, layout="domains", train_domains=("ink",), protocol="few-shot")
    with pytest.raises(ConfigError, match="there is none; name it with --test-data"):
        prepare(asked(world, protocol="cross-dataset"))


# The open world


def test_the_open_world_offers_both_names_and_has_a_control(world: Path, tmp_path: Path) -> None:
    """The control's logits are the learner's on base names beside those of the frozen CLIP."""
    job = asked(world, learner="cocoop", overrides=("epochs=1",), runs_dir=tmp_path)
    run = train_job(job)
    record = read_record(evaluate_run(run, evaluation=PLAIN))
    assert {s.subset for s in record.scores} == {"base", "new"}  # it costs time, so one asks
    record = read_record(evaluate_run(run, evaluation=replace(PLAIN, open_world=True)))
    assert len(record.scores) == 4
    opened = open_job(job)
    roles = opened.prepared.roles
    assert roles.open_world is not None
    images = image_set(roles.open_world, opened.bench.train.store, {})
    learner = load_artifact(run / "artifact", clip=opened.bench.clip).learner
    frozen = build_learner("zero-shot", opened.bench.clip, {})
    num_base = len(roles.tests["base"].classes)
    control = ZeroShotForNew(learner, frozen, num_base)
    batch = images.batch(torch.arange(len(images)), needs=control.needs)
    with torch.inference_mode():
        own, zero = learner.logits(batch, images.classes), frozen.logits(batch, images.classes)
        mixed = control.logits(batch, images.classes)
    joined = torch.cat([own[:, :num_base], zero[:, num_base:]], 1)
    torch.testing.assert_close(mixed, joined, atol=1e-4, rtol=1e-4)  # text in another batch
    for variant, logits in ((Variant.own(), own), (Variant.of_control(ZERO_SHOT_NEW), joined)):
        score = record.score(variant, "open")
        assert score is not None
        hits = (logits.argmax(1) == images.labels).tolist()
        assert score.hit_list() == hits
        base = len(roles.tests["base"].items)
        assert score.metrics["accuracy_base"] == pytest.approx(100 * sum(hits[:base]) / base)


def test_there_is_no_open_world_without_new_classes(world: Path, tmp_path: Path) -> None:
    job = asked(world, protocol="few-shot", learner="zero-shot", runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="few-shot has no new classes"):
        evaluate_run(train_job(job), evaluation=replace(PLAIN, open_world=True))


# Presets


@pytest.mark.parametrize("protocol", ["base-to-new", "cross-dataset", "domain", "few-shot"])
def test_the_command_of_a_preset_runs_its_protocol(
    world: Path, layouts: Path, tmp_path: Path, protocol: str
) -> None:
    """Shown commands of the paper's protocols ran base-to-new beside other published numbers."""
    presets = [p for p in all_presets() if protocol in (p.name, p.benchmark)]
    assert len(presets) >= 5
    for preset in presets:
        words = shlex.split(preset.command)
        assert ("--protocol" in words) == (protocol != "base-to-new")
        if protocol != "base-to-new":
            assert words[words.index("--protocol") + 1] == protocol
        assert (words[3] == "imagenet") == (protocol in ("cross-dataset", "domain"))
    shown = next(p for p in presets if p.learner == "cocoop").command
    words = shlex.split(shown.replace("NAME", "dtd"))[1:]
    words[words.index("--backbone") + 1] = str(world / "clip")
    small = ["--data-root", layouts, "--runs-dir", tmp_path, "--shots", 1, "--workers", 0]
    done = command(*words, *small, "--device", "cpu", "--set", "epochs=1")
    assert done.code == 0, done.err
    (run,) = tmp_path.glob("*/run.json")
    assert read_run(run.parent).resolved.protocol == protocol
    if protocol in ("cross-dataset", "domain"):
        record = read_record(run.parent / "record.json")
        others = TARGETS if protocol == "cross-dataset" else TEST_ONLY
        wanted = {(name, "all"): 2 * len(PUBLISHED[name]) for name in ("imagenet", *others)}
        assert totals(record) == wanted
