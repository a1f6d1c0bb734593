"""V* inside a job: class lists, the automatic batch, what is measured, who shares it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import CLASSES, Opened, opened

from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.generators.config import OverfitConfig
from diffuprompt.learners.base import Learner
from diffuprompt.runs.store import Store
from diffuprompt.stages import overfit as module
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts, task_loss
from diffuprompt.stages.memory import fitting_batch, image_bytes, num_tokens
from diffuprompt.stages.overfit import Targets, class_lists, targets, zero_shot

SHALLOW = {"vpt": ("vision_depth=2",), "maple": ("depth=2", "vision_depth=2")}  # two layers


def bench(world: Path, *overrides: str, **values: Any) -> Opened:
    overrides += SHALLOW.get(values["learner"], ())
    defaults: dict[str, Any] = {"protocol": "few-shot", "generator": "diffusion"}
    return opened(world, **{**defaults, **values}, overrides=overrides)


def learner_of(found: Opened) -> Learner:
    return found.learner().requires_grad_(False).eval()


def test_negatives_follow_zero_shot_confusions_and_not_the_learner(world: Path) -> None:
    found = bench(world, learner="cocoop")
    learner, images = learner_of(found), found.train
    lists = class_lists(OverfitConfig(negatives=2), learner, images)
    assert lists is not None
    parts = list(zero_shot(learner, images))
    assert torch.equal(torch.cat([index for index, _ in parts]), torch.arange(len(images)))
    probabilities = torch.cat([part for _, part in parts])
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


def found_in(store: Store, found: Opened, learner: Learner) -> Targets:
    stage = found.prepared.chain.overfit
    assert stage is not None
    return targets(found.bench, store, stage, learner)


def test_the_stage_keeps_statistics_and_the_spectrum_and_is_made_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bench(world, "negatives=2", "overfit.steps=2", "overfit.batch=0", learner="cocoop")
    learner, store = learner_of(found), Store(tmp_path)
    first = found_in(store, found, learner)
    measured = first.folder.values()
    assert measured["overfit_classes"] == 3
    steps = [measured[f"overfit_ce_{name}"] for name in ("before", "step_0", "step_2")]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == 3
    assert measured["overfit_energy_rank_1"] < measured["overfit_energy_rank_8"] <= 1
    assert measured["overfit_lr"] == first.lr
    spectrum = json.loads((first.folder.path / "spectrum.json").read_text())
    assert spectrum["images"] == len(found.train) == len(spectrum["singular_values"])
    pairs = first.pairs
    assert torch.equal(pairs.features, found.train.features)
    assert torch.equal(pairs.initial, own_prompts(learner, found.train))
    monkeypatch.setattr(module, "_overfit", None)  # whoever computes again fails
    again = found_in(store, found, learner)
    assert torch.equal(again.pairs.target, pairs.target)
    assert again.folder.values() == measured
    assert not again.folder.work.exists()


def test_who_asks_for_the_same_targets_shares_them(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where a process finished them, and only where nothing that they depend on differs."""
    store = Store(tmp_path)

    def overfitted(*overrides: str, **values: Any) -> Targets:
        found = bench(world, "overfit.lr=1", *overrides, **{"learner": "coop", **values})
        return found_in(store, found, learner_of(found))

    first = overfitted("fit.lr=0.1")
    every = sorted(store.root.glob("overfit/*"))
    made = module._overfit
    monkeypatch.setattr(module, "_overfit", None)  # whoever computes again fails
    for same in (
        overfitted("fit.lr=0.2"),
        overfitted("fit.lr=0.1", generator="mlp"),
        overfitted("diffusion.nfe=2", workers=1, text_memory_mib=64),
    ):
        assert same.folder.path == first.folder.path
        assert torch.equal(same.pairs.target, first.pairs.target)
    monkeypatch.setattr(module, "_overfit", made)
    others = [
        overfitted("overfit.steps=2"),
        overfitted("lr=0.5"),  # of the learner
        overfitted(shots=1),
        overfitted(seed=2),
        overfitted(precision="bf16"),
        overfitted("num_ctx=3", "ctx_init=null"),
    ]
    paths = {first.folder.path, *(other.folder.path for other in others)}
    assert len(paths) == 1 + len(others)
    assert paths == set(store.root.glob("overfit/*")) > set(every)
    assert not torch.equal(others[0].pairs.target, first.pairs.target)


def test_targets_that_were_cut_off_or_altered_are_not_taken(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, found = Store(tmp_path), bench(world, learner="coop")
    learner = learner_of(found)
    first = found_in(store, found, learner)
    target, path = first.pairs.target, first.folder.path
    (path / "done.json").unlink()  # as of a process that was stopped before its end
    asked: list[str] = []
    made = module._overfit
    monkeypatch.setattr(module, "_overfit", lambda *args: asked.append("again") or made(*args))
    assert torch.equal(found_in(store, found, learner).pairs.target, target)
    assert asked == ["again"]
    file = path / module.TENSORS
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CheckpointError) as caught:
        found_in(store, found, learner).pairs  # noqa: B018
    assert f"{file}: missing, or not the file that was written; delete {path}" in str(caught.value)


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


def test_images_that_no_prompt_reaches_cost_nothing(world: Path) -> None:
    """Every image was charged for its patches, and without slots there was no estimate."""
    found = bench(world, "num_ctx=4", learner="clip-lora")
    model, classes = learner_of(found), found.train.classes
    text = model.clip.text.blocks.kept_bytes() * num_tokens(model.tokens(classes))
    assert image_bytes(model, classes) == text
    patches = 1 + model.clip.vision.config.num_patches + 4
    trained = image_bytes(model.requires_grad_(), classes)  # as in joint training
    assert trained == text + model.clip.vision.blocks.kept_bytes() * patches
    bare = learner_of(bench(world, learner="clip-lora", generator="none"))
    assert image_bytes(bare, classes) == 1


def test_the_automatic_batch_fills_the_budget(world: Path) -> None:
    found = bench(world, learner="maple", text_memory_mib=1)
    model, classes = learner_of(found), found.train.classes
    each = image_bytes(model, classes)
    assert fitting_batch(model, classes) == 2**20 // each > 0
    assert image_bytes(model, classes, torch.tensor([[0, 1]] * 6)) < each
    roomy = learner_of(bench(world, learner="maple", text_memory_mib=100_000))
    assert fitting_batch(roomy, classes) == 256
    assert len(CLASSES) == len(classes)
