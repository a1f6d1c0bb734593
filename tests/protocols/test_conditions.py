"""Generators that are told of class texts: one condition in training, evaluation and prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.classifier import Classifier
from diffuprompt.protocols.evaluate import evaluate_run
from diffuprompt.protocols.job import JobConfig
from diffuprompt.protocols.prompted import conditions, learner_logits, own_prompts
from diffuprompt.protocols.train import train_job
from diffuprompt.protocols.workbench import prepare
from diffuprompt.record import read_record


def job(world: Path, runs: Path, *overrides: str) -> JobConfig:
    return JobConfig(
        data=str(world / "colours"),
        backbone=str(world / "clip"),
        learner="coop",
        generator="diffusion",
        shots=2,
        protocol="base-to-new",
        runs_dir=runs,
        device="cpu",
        workers=0,
        overrides=("epochs=2", "fit.epochs=2", "fit.batch=4", *overrides),
    )


def test_train_evaluate_and_predict_tell_the_generator_the_same(
    world: Path, tmp_path: Path
) -> None:
    """Guided EDM with adaLN, an ensemble and two texts, from one command to a picture's names."""
    asked = job(
        world, tmp_path, "text_tokens=2", "conditioning=adaln", "prediction=edm",
        "noise=log_normal", "drop_condition=0.2", "guidance=1.5", "ensemble=2",
        "sigma_start=20",
    )  # fmt: skip
    run = train_job(asked)
    record = read_record(evaluate_run(run))
    assert {(s.variant, s.subset) for s in record.scores} >= {
        (variant, subset)
        for variant in ("own", "diffusion", "nearest", "shuffled", "regression")
        for subset in ("base", "new")
    }
    assert record.config["diffusion"]["text_tokens"] == 2
    bench = prepare(asked, NULL)
    artifact = load_artifact(run / "artifact", clip=bench.clip)
    learner, generator = artifact.learner, artifact.generator
    assert generator is not None
    for images in bench.tests.values():  # other classes, other texts
        told = conditions(learner, generator, images)
        assert told.shape == (len(images), 3, images.features.shape[1])
        with torch.inference_mode():
            flat = generator.sample(told, own_prompts(learner, images))
            want = learner_logits(learner, images)(flat, torch.arange(len(images))).softmax(1)
        files = [world / "colours" / item.path for item in images.items]
        classifier = Classifier.from_pretrained(run, device="cpu").with_classes(
            images.classes.names
        )
        # Softmax of 20 cosines; features of one batch and of another differ by about 1e-6, and
        # the generator passes that on.
        torch.testing.assert_close(classifier.predict(files), want, rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match=r"diffusion\.text_tokens: .*only 1"):
        Classifier.from_pretrained(run, device="cpu").with_classes(["red"]).predict(files[:1])


def test_more_texts_than_classes_are_refused_before_anything_is_trained(
    world: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"diffusion\.text_tokens: .*4 classes .*only 3"):
        train_job(job(world, tmp_path / "runs", "text_tokens=4"))
    assert not (tmp_path / "runs").exists()
