"""The learner of docs/add-a-learner.md as printed: its tests, the contracts, one training."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.contract import test_artifact, test_generators, test_logits, test_training
from tests.contract.cases import CASES, build
from tests.contract.generators import shrink_networks
from tests.contract.towers import NAMES, TINY, pictures, tower
from tests.world import small_job

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.classifier import Classifier
from diffuprompt.jobs.train import train_job
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-learner.md"
FILE, USE, TEST = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MODULES = ("kgcoop", "test_kgcoop")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's two files, where Python finds them; the learner is registered."""
    (tmp_path / "kgcoop.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "test_kgcoop.py").write_text(TEST, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(CASES, "kgcoop", ("kgcoop", {"num_ctx": 4}))
    shrink_networks(monkeypatch)
    before = dict(METHODS)
    importlib.import_module("kgcoop")
    yield tmp_path
    METHODS.clear()
    METHODS.update(before)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", re.findall(r"def (test_\w+)\(\)", TEST))
def test_the_pages_own_tests(name: str) -> None:
    getattr(importlib.import_module("test_kgcoop"), name)()


OF_LOGITS = (
    "own_prompts_are_the_default",
    "features_stand_for_pixels",
    "packed_prompts_give_the_same_logits",
    "equal_copies_are_shared_prompts",
    "class_order_permutes_logits",
    "class_order_permutes_own_logits",
    "other_classes_do_not_matter",
    "a_batch_is_its_images_one_by_one",
    "static_text_is_only_a_saving",
    "equal_to_clip_written_directly",
    "prompts_that_do_not_fit_are_refused",
)
OF_TRAINING = (
    "every_slot_receives_gradient",
    "every_learnable_receives_gradient",
    "the_loss_is_the_cross_entropy",
    "prompts_given_from_outside_bypass_the_learnables",
    "training_moves_the_learner_and_not_the_tower",
)


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize(
    ("module", "name"),
    [(test_logits, name) for name in OF_LOGITS] + [(test_training, name) for name in OF_TRAINING],
)
def test_contracts_of_logits_and_training(module: object, name: str, kind: str) -> None:
    clip = tower(kind, torch.float64)
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    learner = build("kgcoop", clip, moved=True)
    getattr(module, f"test_{name}")(learner, pictures(clip, 3), Classes(NAMES))
    for key, value in clip.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_contracts_of_the_state_and_the_artifact(tmp_path: Path) -> None:
    clip = tower("plain-vit", torch.float32)
    test_training.test_the_state_holds_learnables_only(build("kgcoop", clip, moved=True))
    test_artifact.test_a_learner_comes_back("kgcoop", clip, Classes(NAMES), tmp_path / "own")
    test_artifact.test_the_file_holds_learnables_only("kgcoop", clip, tmp_path / "file")
    test_artifact.test_a_generator_comes_back(
        "kgcoop", "trained", clip, Classes(NAMES), tmp_path / "generated"
    )


def test_contracts_of_generators() -> None:
    clip = tower("plain-vit", torch.float64)
    learner = build("kgcoop", clip, moved=True).requires_grad_(False)
    images, classes = pictures(clip, 3), Classes(NAMES)
    test_generators.test_untrained_returns_the_learners_prompts(
        "kgcoop", clip, learner, images, classes
    )
    test_generators.test_trained_prompts_fit_the_learner_and_differ("kgcoop", clip, learner, images)


def test_it_trains_and_loads_like_any_other(world: Path, tmp_path: Path) -> None:
    """A job with a generator, an epoch of the learner, and the artifact that it leaves."""
    assert 'learner="kgcoop"' in USE
    job = small_job(world, tmp_path / "runs", "kgcoop", "knowledge=4", "train.views=1")
    folder = train_job(replace(job, overrides=("train.epochs=1", *job.overrides[1:])))
    clip = load_clip(world / "clip")
    artifact = load_artifact(folder / "artifact", clip=clip)
    assert artifact.learner.config()["knowledge"] == 4.0
    assert artifact.generator is not None
    classes = Classes(artifact.description.classes)
    images = ImageBatch(torch.randn(2, 3, 32, 32), None, torch.arange(2))
    again = load_artifact(folder / "artifact", clip=clip)
    assert torch.equal(
        artifact.learner.logits(images, classes), again.learner.logits(images, classes)
    )
    start = build("kgcoop", clip, moved=False)
    assert not torch.equal(artifact.learner.family.text[0], start.family.text[0]), "it has learned"
    classifier = Classifier.from_pretrained(folder, backbone=str(world / "clip"), device="cpu")
    picture = next((world / "colours").rglob("*.png"))
    assert set(classifier(str(picture))) == set(artifact.description.classes)
    assert "KgCoOp" in (folder / "artifact" / "README.md").read_text(encoding="utf-8")
