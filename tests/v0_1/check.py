"""Check that artifacts and runs of version 0.1 load, and answer what they answered there.

Run it with the code of any version, from a checkout of it:

    PYTHONPATH=src OMP_NUM_THREADS=1 python FOLDER/check.py [exact]

Everything happens in a copy; FOLDER, the folder of this file, is only read. With "exact" no
difference at all is allowed, which holds for version 0.1 on the machine that made the files.
"""

from __future__ import annotations

import json
import logging
import lzma
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt import Classifier
from diffuprompt.data.images import ImageBatch, load_image
from diffuprompt.hub.artifact import Artifact, load_artifact
from diffuprompt.learners.classes import Classes
from diffuprompt.protocols.evaluate import evaluate_run
from diffuprompt.protocols.run_folder import read_run
from diffuprompt.protocols.train import train_job
from diffuprompt.record import read_record

HERE = Path(__file__).resolve().parent
PLACEHOLDER = "@FIXTURE@"
LOGITS = 5e-5  # other kernels and numbers of threads move logits by up to 1e-5,
MEASURES = 1e-3  # and accuracies in per cent, losses and so on by up to 1e-4


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


def check_run(run: Path, expected: dict[str, Any]) -> float:
    """Return the largest difference of any measure of any score; hits must be equal.

    An evaluated run is trained and evaluated already; without its record it gets equal scores.
    """
    job, _ = read_run(run)
    with messages() as said:
        train_job(replace(job, out=run))
        if expected["evaluated"]:
            evaluate_run(run)
    assert sum("is trained already" in text for text in said) == 1, said
    assert sum("is evaluated already" in text for text in said) == expected["evaluated"], said
    worst = 0.0
    if expected["evaluated"]:
        worst = compare_scores(run, expected)
        (run / "record.json").unlink()
        shutil.rmtree(run / "checkpoint" / "scores")
    evaluate_run(run)
    return max(worst, compare_scores(run, expected))


def compare_scores(run: Path, expected: dict[str, Any]) -> float:
    record, worst = read_record(run / "record.json"), 0.0
    assert {f"{s.variant}/{s.subset}" for s in record.scores} == set(expected["scores"])
    for score in record.scores:
        wanted = expected["scores"][f"{score.variant}/{score.subset}"]
        found = score.model_dump(include=set(wanted))
        assert set(found) == set(wanted)
        found |= found.pop("selective")
        wanted = {**wanted, **wanted["selective"]}
        del wanted["selective"]
        for key, value in found.items():
            if isinstance(value, float):
                worst = max(worst, abs(value - wanted[key]))
            else:
                assert value == wanted[key], (run, score.variant, key)
    return worst


@contextmanager
def messages() -> Iterator[list[str]]:
    """Collect what the package logs."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, handler = logging.getLogger("diffuprompt"), Keep()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def main(words: list[str]) -> None:
    at_most = (0.0, 0.0) if words == ["exact"] else (LOGITS, MEASURES)
    with tempfile.TemporaryDirectory() as name:
        os.environ["DIFFUPROMPT_CACHE"] = str(Path(name) / "cache")
        world = unpack(Path(name) / "world")
        clip = str(world / "clip")
        about = json.loads((world / "artifacts" / "expected.json").read_text())
        for place, expected in about["artifacts"].items():
            worst = check_artifact(world, world / "artifacts" / place, expected, about, clip)
            print(f"artifacts/{place}: {worst:g}")
            assert worst <= at_most[0]
        about = json.loads((world / "runs" / "expected.json").read_text())
        for kind, expected in about["runs"].items():
            run = world / "runs" / kind
            worst = check_artifact(world, run / "artifact", expected, about, None)
            measured = check_run(run, expected)
            print(f"runs/{kind}: {worst:g}, scores {measured:g}")
            assert worst <= at_most[0]
            assert measured <= at_most[1]


if __name__ == "__main__":
    main(sys.argv[1:])
