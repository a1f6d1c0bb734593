"""Every method through train, evaluate and predict; and what is refused before weights load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import open_job

from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.load import load_clip
from diffuprompt.errors import ConfigError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.classifier import Classifier
from diffuprompt.jobs import prepared as preparing
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.learners.methods import METHODS
from diffuprompt.record import read_record

SHALLOW = {
    "vpt": ("vision_depth=2",),
    "tip-adapter": (),
    "zero-shot": (),
    "coop": (),
    "cocoop": (),
    "tip-adapter-f": (),
    "clip-adapter": (),
    "prograd": (),
    "llu": ("learner.views=1",),
    "clip-lora": (),
    "2sfs": (),
}


def job(world: Path, runs: Path, learner: str, *overrides: str, **values: Any) -> JobConfig:
    return JobConfig(
        **{
            "data": str(world / "colours"),
            "backbone": str(world / "clip"),
            "learner": learner,
            "shots": 2,
            "protocol": "base-to-new",
            "runs_dir": runs,
            "device": "cpu",
            "workers": 0,
            "overrides": (*SHALLOW.get(learner, ("depth=2",)), *overrides),
            **values,
        }
    )


@pytest.mark.parametrize("learner", METHODS)
def test_train_evaluate_predict(learner: str, world: Path, tmp_path: Path) -> None:
    epochs = () if METHODS[learner].presets[0].train.epochs == 0 else ("epochs=2",)
    asked = job(world, tmp_path, learner, *epochs)
    run = train_job(asked)
    record = read_record(evaluate_run(run))
    assert record.job.learner == learner
    if not learner.startswith(("tip", "2sfs")):  # as large as the training set, or its classes
        assert record.trainable_parameters == open_job(asked).learner().num_trainable()
    subsets = {s.subset for s in record.scores}
    assert subsets == {"base", "new"}
    classifier = Classifier.from_pretrained(run, device="cpu")
    pictures = sorted((world / "colours" / "red").glob("*.png"))[:3]
    probabilities = classifier.predict(pictures)
    assert probabilities.shape == (3, 3)
    # the protocol scores the same pictures alike: grids there, pixels here
    found = open_job(asked)
    loaded = load_artifact(run / "artifact", clip=found.bench.clip).learner
    images = found.tests["base"]
    with torch.inference_mode():
        index = torch.arange(len(images))
        logits = loaded.logits(images.batch(index, needs=loaded.needs), images.classes)
    files = [world / "colours" / item.path for item in images.items]
    torch.testing.assert_close(logits.softmax(1), classifier.predict(files), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learner", ["vpt", "maple", "coprompt"])
def test_generated_prompts_of_both_towers(learner: str, world: Path, tmp_path: Path) -> None:
    fast = ("epochs=1", "fit.epochs=1", "overfit.steps=1", "overfit.lr=0.1")
    run = train_job(job(world, tmp_path, learner, *fast, generator="diffusion"))
    record = read_record(evaluate_run(run))
    variants = {s.variant.label for s in record.scores}
    assert {"own", "diffusion", "oracle", "mean"} <= variants


def test_one_method_on_anothers_prompts_is_a_configuration(world: Path, tmp_path: Path) -> None:
    losses = ("text_l1=25", "image_l1=10", "kl=1", "gpa_mean=2", "gpa_std=1")
    asked = job(world, tmp_path, "maple", *losses, "epochs=2")
    learner = open_job(asked).learner()
    same = job(world, tmp_path, "promptsrc", "prompts=coupled", "num_ctx=2", "gpa_mean=2")
    other = open_job(same).learner()
    assert other.config() == learner.config()
    names = {n for n, _ in learner.named_parameters()}
    assert names == {n for n, _ in other.named_parameters()}
    train_job(asked)


REFUSED = [
    ("maple", ("depth=3",), r"learner\.depth: expected at most 2, .* text tower, got 3"),
    ("vpt", ("vision_depth=9",), r"learner\.vision_depth: expected at most 2"),
    ("promptsrc", ("depth=2", "num_ctx=37", "ctx_init=null"), r"learner\.num_ctx: .* most 36"),
    ("coop", ("num_ctx=40",), r"learner\.num_ctx: expected at most 36"),
    ("cocoop", ("num_ctx=30",), r"learner\.num_ctx: .*the tokens of ctx_init .*ctx_init=null"),
    ("coprompt", ("depth=2", "sentences=llm"), r"learner\.sentences: .*sentences=templates"),
    ("coop", ("class_specific=true",), "cannot score new classes"),
]


@pytest.mark.parametrize(("learner", "overrides", "message"), REFUSED)
def test_bad_combinations_stop_before_weights_are_loaded(
    learner: str,
    overrides: tuple[str, ...],
    message: str,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*args: object, **rest: object) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(preparing, "load_clip", load)
    asked = job(world, tmp_path, learner, *overrides)
    with pytest.raises(ConfigError, match=message):
        preparing.prepare(asked)


def test_peeking_tells_what_loading_does(world: Path) -> None:
    seen, clip = read_header(str(world / "clip")), load_clip(world / "clip")
    assert seen is not None
    assert seen.config == clip.config
    assert seen.scale == pytest.approx(float(clip.scale), rel=1e-6)


def test_views_of_coprompt_are_its_own_and_two(world: Path, tmp_path: Path) -> None:
    found = open_job(job(world, tmp_path, "coprompt"))
    assert found.train.store.augment == "randaugment"
    assert found.prepared.inputs["sentences"] == "templates"
    needs = found.learner().training_needs
    batch = found.train.batch(torch.arange(2), 0, needs=needs, second=1)
    assert batch.second is not None
    assert torch.equal(batch.second, found.train.view(1)[:2])
    assert batch.features is None
    assert batch.grid is not None
