"""The fixed noise that samples start from belongs to data set, seed and spec."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.generators.toy import FEATURES, SPEC

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import FitConfig
from diffuprompt.generators.kinds import KINDS
from diffuprompt.generators.registry import build_generator
from diffuprompt.prompts import PromptSpec, Slot

pytestmark = pytest.mark.usefixtures("_small")
NOISY = tuple(name for name, kind in KINDS.items() if kind.draws_noise)


def one_slot(tower: Any, layer: int = 0) -> PromptSpec:
    slot = Slot(name=f"{tower}.{layer}", tower=tower, layer=layer, length=2, width=6)
    return PromptSpec((slot,))


def built(name: str, spec: PromptSpec = SPEC, *, seed: int = 3, scope: str) -> PromptGenerator:
    kind = KINDS[name]
    config, fitting = kind.config(), FitConfig(**kind.defaults.get("fit", {}))
    return build_generator(name, spec, FEATURES, config, fitting, seed=seed, scope=scope)


@pytest.mark.parametrize("name", NOISY)
def test_slots_of_equal_size_have_noise_of_their_own(name: str) -> None:
    """Text and vision prompts of one size started from identical noise."""
    specs = (one_slot("text"), one_slot("vision"), one_slot("text", layer=1))
    made = [built(name, spec, scope="colours") for spec in specs]
    for draw in (0, 1):
        noise = [generator.draw_noise(draw) for generator in made]
        assert len({tuple(each.shape) for each in noise}) == 1
        for i, one in enumerate(noise):
            assert not any(torch.isclose(one, other).any() for other in noise[:i])


@pytest.mark.parametrize("name", NOISY)
def test_the_noise_belongs_to_data_set_and_seed(name: str) -> None:
    own = built(name, scope="colours")
    again = built(name, scope="colours")
    others = [built(name, scope="shades"), built(name, scope="colours", seed=4)]
    for draw in (0, 1):
        assert torch.equal(again.draw_noise(draw), own.draw_noise(draw))
        for other in others:
            assert not torch.isclose(other.draw_noise(draw), own.draw_noise(draw)).any()


@pytest.mark.parametrize("name", NOISY)
def test_without_a_scope_the_noise_is_that_of_0_1(name: str) -> None:
    """Artifacts of 0.1 draw further samples as they did; their first noise travels with them."""
    made = built(name, scope="")
    for draw, names in ((0, ()), (1, (1,)), (2, (2,))):
        stream = torch_stream(3, name, "test-noise", *names)
        assert torch.equal(made.draw_noise(draw), torch.randn(1, made.num_noise, generator=stream))
