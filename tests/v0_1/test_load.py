"""Artifacts and runs of version 0.1 load, and answer what they answered there; see README.md."""

from __future__ import annotations

import json
import logging
import lzma
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffuprompt import Classifier
from diffuprompt.data.decode import load_image
from diffuprompt.data.images import ImageBatch
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.hub.artifact import Artifact, load_artifact
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.jobs.train import train_job
from diffuprompt.learners.classes import Classes
from diffuprompt.record import read_record

HERE = Path(__file__).resolve().parent
PLACEHOLDER = "@FIXTURE@"
ARTIFACTS = json.loads((HERE / "artifacts" / "expected.json").read_text())
RUNS = json.loads((HERE / "runs" / "expected.json").read_text())
LOGITS = 5e-5  # other kernels and numbers of threads move logits by up to 1e-5,
MEASURES = 1e-3  # and accuracies in per cent, losses and so on by up to 1e-4


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture in a copy; artifacts are only read there."""
    return unpack(tmp_path_factory.mktemp("v0_1"))


@pytest.fixture
def world(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one test, with a cache of its own."""
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))
    return unpack(tmp_path / "world")


def unpack(target: Path) -> Path:
    """Copy the fixture to a new folder, with tensors as they were and paths that lead there."""
    for name in ("clip", "colours", "artifacts", "runs"):
        shutil.copytree(HERE / name, target / name)
    for packed in target.rglob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    for file in target.glob("runs/*/run.json"):
        file.write_text(file.read_text().replace(PLACEHOLDER, target.as_posix()))
    return target


@pytest.mark.parametrize("name", sorted(ARTIFACTS["artifacts"]))
def test_an_artifact_gives_the_logits_of_then(unpacked: Path, name: str) -> None:
    if "flow" in name:
        pytest.importorskip("zuko")
    expected = ARTIFACTS["artifacts"][name]
    folder, clip = unpacked / "artifacts" / name, str(unpacked / "clip")
    assert check_artifact(unpacked, folder, expected, ARTIFACTS, clip) <= LOGITS


def check_artifact(
    world: Path, folder: Path, expected: dict[str, Any], about: Any, backbone: str | None
) -> float:
    """Return the largest difference of any logit, or of a probability that people see.

    Without ``backbone`` it is found through the run around the artifact.
    """
    found = load_artifact(folder, backbone=backbone)
    files = [world / path for path in about["pictures"]]
    classes, others = expected["classes"], about["others"]
    assert list(found.description.classes) == classes
    assert found.description.tensors_hash == expected["tensors_hash"]
    worst = differ(logits(found, files, classes), expected["own"])
    if expected["own_others"] is not None:
        worst = max(worst, differ(logits(found, files, others), expected["own_others"]))
    seen = expected["own"]
    for at, draw in enumerate(expected["draws"] or ()):
        for names, kind in ((classes, "generated"), (others, "generated_others")):
            there = expected[kind][at]
            worst = max(worst, differ(logits(found, files, names, draw), there))
        seen = expected["generated"][0]
    classifier = Classifier.from_pretrained(folder, backbone=backbone, device="cpu")
    return max(worst, differ(classifier.predict(files), torch.tensor(seen).softmax(1)))


@torch.inference_mode()
def logits(found: Artifact, files: list[Path], names: list[str], draw: int | None = None) -> Tensor:
    """Return logits ``(4, C)`` as `Classifier` computes them before its softmax.

    With ``draw`` those of the generator's prompts, else those of the learner's own.
    """
    learner, classes = found.learner, Classes(names)
    views = [found.clip.preprocess.test_view(load_image(file)) for file in files]
    images = ImageBatch(torch.stack(views), None, torch.arange(len(views)))
    images = replace(images, pixels=None, grid=learner.grid(images))
    if draw is not None or learner.needs.features:
        images = replace(images, features=learner.features(images))
    if draw is None:
        return learner.logits(images, classes, text=learner.static_text(classes))
    assert found.generator is not None
    features = learner.features(images)
    own = learner.spec.pack(learner.prompts(features))
    prompts = learner.spec.unpack(found.generator.sample(features, own, draw=draw))
    return learner.logits(images, classes, prompts)


def differ(found: Tensor, expected: Any) -> float:
    """Return the largest difference; shapes must be equal."""
    wanted = torch.as_tensor(expected)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    return float((found - wanted).abs().max())


@pytest.mark.parametrize("kind", sorted(RUNS["runs"]))
def test_a_run_loads_and_scores_as_it_did(world: Path, kind: str, caplog: Any) -> None:
    run, expected = world / "runs" / kind, RUNS["runs"][kind]
    assert check_artifact(world, run / "artifact", expected, RUNS, None) <= LOGITS
    caplog.set_level(logging.INFO, logger="diffuprompt")
    train_job(replace(read_run(run).job, out=run))
    assert "is trained already" in caplog.text
    if expected["evaluated"]:
        evaluate_run(run)
        assert "is evaluated already" in caplog.text
        assert compare_scores(run, expected) <= MEASURES
        (run / "record.json").unlink()
        shutil.rmtree(run / "checkpoint")  # nothing of it is needed
    evaluate_run(run)
    assert compare_scores(run, expected) <= MEASURES


def test_an_interrupted_run_is_left_to_its_version(world: Path) -> None:
    run = world / "runs" / "unevaluated"
    job = replace(read_run(run).job, out=run)
    (run / "artifact" / "artifact.json").unlink()
    with pytest.raises(ConfigError, match=r"begun by diffuprompt 0\.1, which alone can go on"):
        train_job(job)


def test_other_inputs_are_another_run(world: Path) -> None:
    run = world / "runs" / "unevaluated"
    shutil.rmtree(world / "colours" / "red")
    with pytest.raises(ConfigError, match="the content of manifest is "):
        train_job(replace(read_run(run).job, out=run))
    with pytest.raises(ConfigError, match="was trained on something else than is there now"):
        evaluate_run(run)


def test_options_that_are_gone_name_the_version_that_has_them(world: Path) -> None:
    run = world / "runs" / "generator"
    data = json.loads((run / "run.json").read_text())
    data["resolved"]["diffusion"]["text_tokens"] = 3
    (run / "run.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"text_tokens=3 \(in diffuprompt 0\.1\.0 up to commit"):
        evaluate_run(run)


@pytest.mark.parametrize("file", ["run.json", "artifact/artifact.json"])
def test_a_later_version_is_named(world: Path, file: str) -> None:
    path = world / "runs" / "unevaluated" / file
    path.write_text(path.read_text().replace("diffuprompt.run/1", "diffuprompt.run/9")
                    .replace("diffuprompt.artifact/1", "diffuprompt.artifact/9"))  # fmt: skip
    with pytest.raises((DataError, CheckpointError), match=r"/9'.*pip install --upgrade"):
        evaluate_run(world / "runs" / "unevaluated")


def compare_scores(run: Path, expected: dict[str, Any]) -> float:
    """Return the largest difference of any measure; hits and counts must be equal."""
    record, worst = read_record(run / "record.json"), 0.0
    found = {f"{score.variant.label}/{score.subset}": score for score in record.scores}
    assert set(found) == set(expected["scores"])
    for name, wanted in expected["scores"].items():
        score = found[name]
        assert (score.total, score.hits) == (wanted["total"], wanted["hits"]), (run, name)
        selective = {f"selective_{k}": v for k, v in wanted["selective"].items()}
        for key, value in score.metrics.items():
            worst = max(worst, abs(value - {**wanted, **selective}[key]))
    return worst
