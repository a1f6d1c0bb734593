"""A generator with other settings than the default samples the same wherever it is used."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.world import open_job, small_job

from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.classifier import Classifier
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.train import train_job
from diffuprompt.record import read_record
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts


def test_train_evaluate_and_predict_agree(world: Path, tmp_path: Path) -> None:
    """Guided EDM with means over two draws, from one command to a picture's names."""
    asked = small_job(
        world, tmp_path, "coop", "prediction=edm", "noise=log_normal", "drop_condition=0.2",
        "guidance=1.5", "ensemble=2", "sigma_start=20",
    )  # fmt: skip
    run = train_job(asked)
    record = read_record(evaluate_run(run))
    assert {(s.variant.label, s.subset) for s in record.scores} >= {
        (variant, subset)
        for variant in ("own", "diffusion", "nearest", "shuffled", "regression")
        for subset in ("base", "new")
    }
    assert record.config["diffusion"]["guidance"] == 1.5
    found = open_job(asked)
    artifact = load_artifact(run / "artifact", clip=found.bench.clip)
    learner, generator = artifact.learner, artifact.generator
    assert generator is not None
    for images in found.tests.values():
        with torch.inference_mode():
            flat = generator.sample(images.features, own_prompts(learner, images))
            want = learner_logits(learner, images)(flat, torch.arange(len(images))).softmax(1)
        files = [world / "colours" / item.path for item in images.items]
        classifier = Classifier.from_pretrained(run, device="cpu").with_classes(
            images.classes.names
        )
        # Softmax of 20 cosines; features of one batch and of another differ by about 1e-6, and
        # the generator passes that on.
        torch.testing.assert_close(classifier.predict(files), want, rtol=1e-3, atol=1e-4)
