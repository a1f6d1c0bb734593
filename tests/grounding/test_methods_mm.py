"""Every method on MM-Grounding-DINO: a step where it fits, a refusal where it does not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tests.grounding.tiny_detectors import tiny_mm
from torch import Tensor

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Detector
from diffuprompt.grounding.methods.batches import as_inputs, placed
from diffuprompt.grounding.methods.registry import METHODS, make_method, trainable_parameters
from diffuprompt.grounding.methods.training import MethodFit, MethodTask, fit_method
from diffuprompt.grounding.worlds.made import MadeExpressions
from diffuprompt.grounding.worlds.making import make_expressions

SIDE = 64
# what remembers cells of a pyramid, changes GLIP's head, or has the release's shifted biases
UNFIT = {"tip-adapter", "tip-adapter-f", "meta-adapter", "linear-probe", "released"}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return tiny_mm()


@pytest.fixture(scope="module")
def scenes() -> MadeExpressions:
    return make_expressions("scenes", "val", seed=0, count=4, workers=1)


def maps(rows: Sequence[int], latents: bool) -> Tensor:
    chance = torch.Generator().manual_seed(sum(rows))
    shape = (len(rows), 4, 8, 8) if latents else (len(rows), SIDE // 2, SIDE // 2)
    return torch.rand(len(rows), 1, *shape[1:], generator=chance)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in UNFIT])
def test_a_method_takes_a_step(name: str, detector: Detector, scenes: MadeExpressions) -> None:
    method = make_method(name, detector)
    method.prepare(detector, lambda: [scenes.batch(range(4), SIDE)])
    latents = method.reads == "latents"
    task = MethodTask(
        method, detector, scenes, side=SIDE, batch=2, seed=0,
        maps=lambda rows: maps(rows, latents) if method.reads else None,
    )  # fmt: skip
    before = [p.clone() for p in trainable_parameters(method)]
    frozen = [p.clone() for p in detector.module.parameters()]
    fit_method(task, MethodFit(steps=2, lr=1e-2, warmup_steps=0))
    after = trainable_parameters(method)
    assert bool(after) == (name != "zero-shot")
    assert not after or any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(frozen, detector.module.parameters(), strict=True))


@pytest.mark.parametrize("name", sorted(UNFIT))
def test_what_does_not_fit_is_refused_before_training(
    name: str, detector: Detector, scenes: MadeExpressions
) -> None:
    def begun() -> None:
        method = make_method(name, detector)
        method.prepare(detector, lambda: [scenes.batch(range(4), SIDE)])
        batch, tokens = placed(detector, scenes.batch([0], SIDE))
        inputs = as_inputs(batch, tokens, maps([0], latents=False))
        detector.run(batch.pixels, tokens, method(inputs))

    with pytest.raises(ConfigError):
        begun()
