"""What --text-memory-mib, --image-memory-mib and --batch-size may change, as their help says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.world import asked, open_job, small_job

from diffuprompt.clip.text import TextPlan
from diffuprompt.engine.files import read_tensors
from diffuprompt.hub.classifier import Classifier
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.train import train_job
from diffuprompt.stages.flat_prompts import own_prompts

pytestmark = pytest.mark.usefixtures("small_networks_here")
# Sums in another order move a float32 feature by about 1e-6 of its length; four epochs of updates,
# which divide gradients by their size, carry that on. Another result would be off by 1e-2 and more.
FEATURES, TRAINED, PROBABILITIES = 1e-5, 1e-3, 1e-5


def job(world: Path, place: Path) -> JobConfig:
    """CoCoOp and diffusion, with enough text in a batch for a budget of 1 MiB to force chunks."""
    overrides = ("train.epochs=4", "train.batch=8", "fit.epochs=2", "fit.batch=4", "views=2")
    return replace(small_job(world, place, "cocoop"), overrides=overrides, protocol="few-shot")


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-12))


def test_memory_and_batches_change_roundings_and_no_name(world: Path, tmp_path: Path) -> None:
    made = {}
    for mib in (1024, 1):
        one = replace(job(world, tmp_path / str(mib)), text_memory_mib=mib)
        run = train_job(one)
        made[mib] = read_tensors(run / "artifact" / "prompts.safetensors")[0]
    assert prepare(replace(one, text_memory_mib=7)).run_name == prepare(one).run_name
    keys = [prepare(replace(one, text_memory_mib=mib)).chain.keys for mib in (1, 1024)]
    assert keys[0] == keys[1]
    for name, tensor in made[1024].items():
        assert relative(made[1][name], tensor) < TRAINED, name
    classifier = Classifier.from_pretrained(run, device="cpu")
    images = sorted((world / "colours").rglob("*.png"))
    whole = classifier.predict(images, 32)
    for size in (1, 7, 37):
        assert float((classifier.predict(images, size) - whole).abs().max()) < PROBABILITIES


def test_text_memory_changes_features_by_roundings(world: Path) -> None:
    found = open_job(asked(world, learner="cocoop", backbone="scenes-clip", protocol="few-shot"))
    learner, images = found.learner(), found.train
    prompts = learner.spec.unpack(own_prompts(learner, images))
    batch = images.batch(torch.arange(len(images)), needs=learner.needs)
    logits = {}
    with torch.no_grad():
        for mib in (1024, 1):
            learner.plan = TextPlan(memory_mib=mib)
            logits[mib] = learner.logits(batch, images.classes, prompts)
    assert relative(logits[1], logits[1024]) < FEATURES


@pytest.mark.parametrize("learner", ["vpt", "coop"])
def test_image_memory_changes_nothing(world: Path, tmp_path: Path, learner: str) -> None:
    made = []
    for mib in (1024, 0):
        place = tmp_path / str(mib)
        options = ("vision_depth=2",) if learner == "vpt" else ()
        one = replace(
            asked(world, learner=learner, runs_dir=place, image_memory_mib=mib),
            overrides=("epochs=2", "views=2", *options),
        )
        made.append((train_job(one) / "artifact" / "prompts.safetensors").read_bytes())
    assert made[0] == made[1]
