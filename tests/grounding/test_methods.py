"""What every method promises, one by one out of the registry."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from tests.grounding.toy_detector import (
    SIDE,
    ToyExpressions,
    drawn,
    redrawn,
    tokens_of,
    toy_detector,
)
from torch import Tensor

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Inputs, Method
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.methods.batches import placed
from diffuprompt.grounding.methods.registry import METHODS, make_method, trainable_parameters
from diffuprompt.grounding.methods.training import MethodFit, MethodTask, fit_method

MAPS = {"nothing": (), "masks": (1, SIDE, SIDE), "latents": (2, 4, 4, 4)}
SETTINGS: dict[str, dict[str, Any]] = {
    "tip-adapter": {"size": 4},
    "tip-adapter-f": {"size": 4},
    "meta-adapter": {"size": 4},
}
LEARNING = [name for name in METHODS if name not in ("zero-shot", "tip-adapter")]
SET = ToyExpressions()


@pytest.fixture(scope="module")
def detector() -> GlipDetector:
    return toy_detector()


def made(name: str, detector: GlipDetector, **settings: Any) -> Method:
    method = make_method(name, detector, {**SETTINGS.get(name, {}), **settings}, seed=3).double()
    method.prepare(detector, lambda: [SET.batch(range(5), SIDE)])
    return method


def maps_for(method: Method, batch: int, seed: int = 5) -> Tensor | None:
    return drawn(batch, *MAPS[method.reads], seed=seed) if method.reads != "nothing" else None


def inputs_for(method: Method, detector: GlipDetector, rows: range) -> Inputs:
    batch, tokens = placed(detector, SET.batch(rows, SIDE))
    maps = maps_for(method, len(rows))
    return Inputs(pixels=batch.pixels, tokens=tokens, roots=batch.roots, maps=maps)


def run(method: Method, detector: GlipDetector, inputs: Inputs) -> Any:
    return detector.run(inputs.pixels, inputs.tokens, method(inputs))


def fingerprint(detector: GlipDetector) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(detector.module.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_two_is_two_batches_of_one(name: str, detector: GlipDetector) -> None:
    method = made(name, detector)
    redrawn(method)
    inputs = inputs_for(method, detector, range(2))
    with torch.no_grad():
        both = run(method, detector, inputs)
        frozen = detector.run(inputs.pixels, inputs.tokens)
        for i in range(2):
            own = Inputs(
                pixels=inputs.pixels[i : i + 1],
                tokens=tokens_of(inputs.tokens, i),
                roots=inputs.roots[i : i + 1],
                maps=None if inputs.maps is None else inputs.maps[i : i + 1],
            )
            one = run(method, detector, own)
            length = one.words.shape[2]
            assert torch.allclose(both.words[i : i + 1, :, :length], one.words, atol=1e-9)
            assert torch.allclose(both.code[i : i + 1], one.code, atol=1e-9)
            assert torch.allclose(both.centre[i : i + 1], one.centre, atol=1e-9)
    changed = not torch.allclose(both.words, frozen.words, atol=1e-6)
    assert changed == (name != "zero-shot")


@pytest.mark.parametrize("name", LEARNING)
def test_gradients_reach_every_parameter_and_no_other(name: str, detector: GlipDetector) -> None:
    method = made(name, detector)
    redrawn(method)
    answer = run(method, detector, inputs_for(method, detector, range(3)))
    sum(part.square().sum() for part in (answer.words, answer.code, answer.centre)).backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 1e-10, key
    assert all(p.grad is None for p in detector.module.parameters())


UNCHANGED: dict[str, dict[str, Any]] = {
    "zero-shot": {},
    "diff-prompt": {"depth": 0},
    "paper": {"length": 0},
    "released": {"length": 0},
    "globals": {"length": 0},
    "coop": {"length": 0},
    "vpt": {"length": 0},
    "vfpt": {"depth": 0},
    "s-prompts": {"length": 0},
    "maple": {"length": 0},
    "fedtpg": {"depth": 0},
    "clip-adapter": {"ratio": 0},
    "tip-adapter": {"alpha": 0},
    "mma": {"scale": 0},
    "linear-probe": {},
    "lora": {},
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_nothing_added_is_the_frozen_detector_bit_for_bit(
    name: str, detector: GlipDetector
) -> None:
    method = made(name, detector, **UNCHANGED[name])
    inputs = inputs_for(method, detector, range(3))
    with torch.no_grad():
        adapted = run(method, detector, inputs)
        frozen = detector.run(inputs.pixels, inputs.tokens)
    for own, other in zip(
        (adapted.words, adapted.code, adapted.centre),
        (frozen.words, frozen.code, frozen.centre),
        strict=True,
    ):
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", METHODS)
def test_only_the_method_changes_in_training(name: str) -> None:
    detector = toy_detector()
    method = made(name, detector)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    frozen = fingerprint(detector)

    def maps(rows: Any) -> Tensor | None:
        return maps_for(method, len(rows), seed=rows[0])

    task = MethodTask(method, detector, SET, side=SIDE, batch=2, seed=0, maps=maps)
    result = fit_method(task, MethodFit(steps=2, lr=1e-2, warmup_steps=0))
    assert fingerprint(detector) == frozen
    assert not any(p.requires_grad for p in detector.module.parameters())
    learned = {key for key, _ in method.named_parameters()}
    assert bool(result) == bool(learned)
    after = method.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if key not in learned)
    moved = [key for key in learned if not torch.equal(after[key], before[key])]
    assert len(moved) == len(learned)


@pytest.mark.parametrize("name", METHODS)
def test_state_and_seed_decide_everything(name: str, detector: GlipDetector) -> None:
    chance = torch.get_rng_state()
    method = made(name, detector)
    again, other = (
        make_method(name, detector, SETTINGS.get(name), seed=seed).double() for seed in (3, 4)
    )
    assert torch.equal(torch.get_rng_state(), chance)
    twins = list(zip(method.parameters(), again.parameters(), strict=True))
    if name != "tip-adapter-f":  # whose keys are training's
        assert all(torch.equal(a, b) for a, b in twins)
    redrawn(method)
    other.load_state_dict(method.state_dict())
    inputs = inputs_for(method, detector, range(2))
    with torch.no_grad():
        one, two = run(method, detector, inputs), run(other, detector, inputs)
    assert torch.equal(one.words, two.words)
    assert torch.equal(one.code, two.code)


def test_other_seeds_give_other_weights(detector: GlipDetector) -> None:
    one, two = (trainable_parameters(make_method("maple", detector, seed=s)) for s in (0, 1))
    assert not any(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_no_method_holds_the_detector(detector: GlipDetector) -> None:
    frozen = {id(p) for p in detector.module.parameters()}
    for name in METHODS:
        assert not frozen & {id(p) for p in made(name, detector).parameters()}, name


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cooop", {}, "Did you mean 'coop'"),
        ("coop", {"lenght": 3}, "no setting 'lenght'"),
        ("coop", {"length": -1}, "method.length: got -1"),
        ("diff-prompt", {"depth": 9}, "the detector has 4 layers"),
        ("diff-prompt", {"length": 3}, "expected an even number"),
        ("released", {"side": 40}, "a multiple of 32"),
        ("released", {"length": 2}, "block 3 cannot view 2 prompts of 8 as prompts of 32"),
        ("linear-probe", {"names": ("bbox_pred", "cls_logits")}, "no parameters of cls_logits"),
        ("lora", {"names": ("wq",)}, "no parameters of wq"),
        ("fedtpg", {"heads": 3}, "do not divide the width 16"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, settings: dict[str, Any], message: str, detector: GlipDetector
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_method(name, detector, settings)
