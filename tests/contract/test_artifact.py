"""What is saved is what was trained: the same bits of logits, in the precision users run."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from tests.contract.cases import CASES, PROMPTED, build
from tests.contract.generators import GENERATORS, generator_for, predict
from tests.contract.towers import NAMES, pictures, tower

from diffuprompt.errors import CheckpointError
from diffuprompt.hub.artifact import load_artifact, save_artifact
from diffuprompt.prompts import PromptSpec

TRAINING = {"seed": 1, "shots": 16}


@pytest.mark.parametrize("case", CASES)
def test_a_learner_comes_back(case, clip32, classes, tmp_path):
    learner, images = build(case, clip32, moved=True), pictures(clip32, 3)
    save_artifact(tmp_path, learner, NAMES, None, TRAINING)
    loaded = load_artifact(tmp_path, clip=clip32)
    assert loaded.generator is None
    assert type(loaded.learner) is type(learner)
    assert loaded.learner.spec == learner.spec
    assert loaded.description.classes == NAMES
    with torch.no_grad():
        want = learner.logits(images, classes)
        assert torch.equal(loaded.learner.logits(images, classes), want)
    assert loaded.learner.num_trainable() == 0


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("case", PROMPTED)
def test_a_generator_comes_back(case, kind, clip32, classes, tmp_path):
    learner, images = build(case, clip32, moved=True), pictures(clip32, 3)
    generator = generator_for(kind, case, clip32)
    save_artifact(tmp_path, learner, NAMES, generator, TRAINING)
    loaded = load_artifact(tmp_path, clip=clip32)
    assert loaded.generator is not None
    with torch.no_grad():
        want = predict(learner, generator, images, classes)
        assert torch.equal(predict(loaded.learner, loaded.generator, images, classes), want)


@pytest.mark.parametrize("case", PROMPTED)
def test_the_file_holds_learnables_only(case, clip32, tmp_path):
    learner = build(case, clip32, moved=True)
    save_artifact(tmp_path, learner, NAMES, None, TRAINING)
    with safe_open(str(tmp_path / "prompts.safetensors"), framework="pt") as file:
        sizes = {k: file.get_tensor(k).numel() for k in file.keys()}
    assert set(sizes) == {f"learner.{k}" for k in learner.state_dict()}
    found = sum(buffer.numel() for buffer in learner.buffers())  # by training: LLU's centres
    assert sum(sizes.values()) == learner.num_trainable() + found


def test_the_spec_travels_with_its_hash(tmp_path):
    clip = tower("plain-vit", torch.float32)
    learner = build("probe", clip, moved=True)
    description = save_artifact(tmp_path, learner, NAMES, None, TRAINING)
    spec = PromptSpec.from_json(description.spec)
    assert spec == learner.spec
    assert spec.hash == description.spec_hash


def test_another_tower_is_refused(tmp_path):
    here, there = tower("plain-vit", torch.float32), tower("stem-vit", torch.float32)
    save_artifact(tmp_path, build("coop-words", here, moved=True), NAMES, None, TRAINING)
    with pytest.raises(CheckpointError, match=r"tiny-plain-vit.*stem-vit.*--backbone"):
        load_artifact(tmp_path, clip=there)
