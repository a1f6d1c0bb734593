"""Stage 1 inside a job: class lists, the automatic batch, what is noted."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import CLASSES

from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.run_folder import RunFolder
from diffuprompt.jobs.workbench import Workbench, prepare
from diffuprompt.learners.base import Learner
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts, task_loss
from diffuprompt.stages.memory import fitting_batch, image_bytes
from diffuprompt.stages.overfitting import class_lists, overfit_train, zero_shot

SHALLOW = {"vpt": ("vision_depth=2",), "maple": ("depth=2", "vision_depth=2")}  # two layers


def bench(world: Path, *overrides: str, **values: Any) -> Workbench:
    overrides += SHALLOW.get(values["learner"], ())
    defaults: dict[str, Any] = {"shots": 2, "workers": 0, "protocol": "few-shot"}
    asked = {"data": str(world / "colours"), "backbone": str(world / "clip"), **defaults, **values}
    return prepare(JobConfig(**asked, generator="diffusion", overrides=overrides), NULL)


def learner_of(found: Workbench) -> Learner:
    return found.build_learner().requires_grad_(False).eval()


def test_negatives_follow_zero_shot_confusions_and_not_the_learner(world: Path) -> None:
    found = bench(world, learner="cocoop")
    learner, images = learner_of(found), found.train
    lists = class_lists(OverfitConfig(negatives=2), learner, images)
    assert lists is not None
    probabilities = zero_shot(learner, images)
    assert probabilities.shape == (len(images), 6)
    for label, row in enumerate(lists.tolist()):
        mean = probabilities[images.labels == label].mean(0)
        mean[label] = torch.inf
        assert row == sorted(mean.topk(3).indices.tolist())
    other = bench(world, learner="vpt", shots=2)
    again = class_lists(OverfitConfig(negatives=2), learner_of(other), other.train)
    assert torch.equal(lists, again)


def test_all_classes_are_no_list(world: Path) -> None:
    found = bench(world, learner="coop")
    learner = learner_of(found)
    for few in (1, 4):
        lists = class_lists(OverfitConfig(negatives=few), learner, found.train)
        assert lists is not None
        assert lists.shape == (6, 1 + few)
    for many in (0, 5, 64):
        assert class_lists(OverfitConfig(negatives=many), learner, found.train) is None


@pytest.mark.parametrize("learner", ["coop", "vpt", "maple"])
def test_logits_of_some_classes_are_columns_of_all(world: Path, learner: str) -> None:
    found = bench(world, learner=learner)
    logits = learner_logits(learner_of(found), found.train)
    flat = own_prompts(learner_of(found), found.train)
    index, classes = torch.tensor([5, 0, 7]), torch.tensor([1, 3, 4])
    whole, part = logits(flat[index], index), logits(flat[index], index, classes)
    # fp32 sums over other numbers of tokens in one product
    torch.testing.assert_close(part, whole[:, classes], rtol=1e-4, atol=1e-4)


def test_task_loss_takes_the_batch_and_random_others(world: Path) -> None:
    found = bench(world, learner="coop")
    learner, images = learner_of(found), found.train
    flat, index = own_prompts(learner, images), torch.tensor([0, 10, 1])  # labels 0, 5, 0
    assert images.labels[index].tolist() == [0, 5, 0]
    logits = learner_logits(learner, images)(flat[index], index)

    def loss(num_classes: int, seed: int = 1) -> float:
        make = task_loss(learner, images, num_classes=num_classes, seed=seed)
        return float(make(flat[index], index))

    def over(*classes: int) -> float:
        target = torch.tensor([classes.index(int(c)) for c in images.labels[index]])
        return float(torch.nn.functional.cross_entropy(logits[:, classes], target))

    near = {"rel": 1e-4}  # fp32
    assert loss(2) == pytest.approx(over(0, 5), **near)
    assert loss(0) == loss(6) == pytest.approx(over(*range(6)), **near)
    drawn = {seed: loss(3, seed) for seed in range(12)}
    possible = [over(*sorted({0, 5, other})) for other in (1, 2, 3, 4)]
    for value in drawn.values():
        assert any(value == pytest.approx(p, **near) for p in possible)
    assert len({round(value, 4) for value in drawn.values()}) > 1
    assert drawn == {seed: loss(3, seed) for seed in range(12)}


def test_stage_notes_statistics_and_the_spectrum_once(world: Path, tmp_path: Path) -> None:
    found = bench(world, "negatives=2", "overfit.steps=2", "overfit.batch=0", learner="cocoop")
    learner, folder = learner_of(found), RunFolder(tmp_path)
    pairs, result = overfit_train(found, learner, folder, NULL)
    noted = folder.notes()["overfit"]
    assert noted["overfit_classes"] == 3
    assert noted["overfit_ce_step_2"] < noted["overfit_ce_step_0"] < noted["overfit_ce_before"]
    assert noted["overfit_energy_rank_1"] < noted["overfit_energy_rank_8"] <= 1
    spectrum = json.loads((tmp_path / "spectrum.json").read_text())
    assert spectrum["images"] == len(found.train) == len(spectrum["singular_values"])
    (tmp_path / "spectrum.json").unlink()
    again, _ = overfit_train(found, learner, folder, NULL)
    assert torch.equal(again.target, pairs.target)
    assert torch.equal(pairs.target, result.prompts)
    assert folder.notes()["overfit"] == noted
    assert not (tmp_path / "spectrum.json").exists()


def test_another_generator_takes_over_what_was_overfitted(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only from a run that finished it, and only where nothing that it depends on differs."""
    caplog.set_level(logging.INFO)
    names = {"a": "fit.lr=0.1", "b": "fit.lr=0.2", "c": "overfit.steps=2", "d": "fit.lr=0.3"}

    def overfitted(name: str) -> torch.Tensor:
        caplog.clear()
        found = bench(world, names[name], learner="coop")
        learner = learner_of(found)
        return overfit_train(found, learner, RunFolder(tmp_path / name), NULL)[0].target

    lender, borrower = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    first = overfitted("a")
    noted = lender.notes()
    (lender.path / "stages.json").unlink()  # as of a run that was stopped before its end
    assert torch.equal(overfitted("b"), first)
    assert "taking the overfitted prompts" not in caplog.text
    shutil.rmtree(borrower.path)
    lender.note("overfit", noted["overfit"])
    assert torch.equal(overfitted("b"), first)
    assert f"taking the overfitted prompts of {lender.path}" in caplog.text
    assert borrower.notes() == noted  # its seconds too
    assert (borrower.path / "spectrum.json").read_bytes() == (
        lender.path / "spectrum.json"
    ).read_bytes()
    assert not torch.equal(overfitted("c"), first)
    assert "taking the overfitted prompts" not in caplog.text
    shutil.rmtree(borrower.path)
    for path in (lender.checkpoint / "overfit").glob("[0-9]*.safetensors"):
        path.write_bytes(path.read_bytes()[:-8])
    assert torch.equal(overfitted("d"), first)
    assert "not a readable safetensors file" in caplog.text
    assert "taking the overfitted prompts" not in caplog.text


def test_class_specific_contexts_refuse_parts_of_the_classes(world: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bench(
            world,
            "class_specific=true",
            "negatives=2",
            "fit.classes=3",
            "fit.ce_weight=1",
            learner="coop",
        )
    for name in ("overfit.negatives", "fit.classes"):
        assert f"{name}: class-specific contexts" in str(caught.value)


@pytest.mark.parametrize("learner", ["cocoop", "vpt", "maple"])
@pytest.mark.parametrize("listed", [False, True])
def test_the_estimate_is_what_autograd_keeps(world: Path, learner: str, listed: bool) -> None:
    """Within a factor of two, in towers of two layers whose last one computes little."""
    found = bench(world, learner=learner)
    model, images = learner_of(found), found.train
    lists = torch.tensor([[0, 1, 2]] * 6) if listed else None
    logits, index = learner_logits(model, images), torch.arange(8)
    flat = own_prompts(model, images)[index].requires_grad_()
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = logits(flat, index) if lists is None else logits(flat, index, lists[0])
    weights = {p.untyped_storage().data_ptr() for p in model.clip.parameters()}
    found_bytes = sum(size for at, size in kept.items() if at not in weights)
    assert out.requires_grad
    estimate = 8 * image_bytes(model, images.classes, lists)
    assert estimate / 2 < found_bytes < 2 * estimate


def test_the_automatic_batch_fills_the_budget(world: Path) -> None:
    found = bench(world, learner="maple", text_memory_mib=1)
    model, classes = learner_of(found), found.train.classes
    each = image_bytes(model, classes)
    assert fitting_batch(model, classes) == 2**20 // each > 0
    assert image_bytes(model, classes, torch.tensor([[0, 1]] * 6)) < each
    roomy = learner_of(bench(world, learner="maple", text_memory_mib=100_000))
    assert fitting_batch(roomy, classes) == 256
    assert len(CLASSES) == len(classes)
