from __future__ import annotations

import pytest
import torch
from tests.generators.toy import BOTH, randn

from diffuprompt.errors import TrainingError
from diffuprompt.generators.normalise import residual_scale
from diffuprompt.prompts import Prompts


def towers(flat):
    """The flat vector's coordinates of each tower."""
    slots = BOTH.unpack(flat)
    return {
        name: torch.cat([slots[s.name].flatten(1) for s in BOTH.slots if s.tower == name], 1)
        for name in ("text", "vision")
    }


def residual():
    """Text residuals are a hundred times the vision ones, in slots that alternate."""
    slots = BOTH.unpack(randn(50, BOTH.size, name="residual"))
    sizes = {"text.0": 0.2, "vision.0": 0.002, "text.1": 0.1}
    return BOTH.pack(Prompts({name: sizes[name] * t for name, t in slots.items()}))


def test_every_tower_has_unit_rms():
    initial, moved = randn(50, BOTH.size, name="own"), residual()
    scale = residual_scale(BOTH, initial, initial + moved)
    assert scale.shape == (BOTH.size,)
    for name, z in towers(moved / scale).items():
        # the scale is kept in float32, whose rounding is 6e-8
        assert float(z.square().mean().sqrt()) == pytest.approx(1, abs=1e-6), name


def test_one_number_a_tower():
    """Differences between slots, tokens and coordinates stay visible to the network."""
    initial = randn(50, BOTH.size, name="own")
    parts = towers(residual_scale(BOTH, initial, initial + residual())[None])
    assert all(len(values.unique()) == 1 for values in parts.values())
    assert float(parts["text"][0, 0]) > 20 * float(parts["vision"][0, 0])


def test_only_the_residual_counts():
    initial, moved = randn(50, BOTH.size, name="own"), residual()
    one = residual_scale(BOTH, initial, initial + moved)
    two = residual_scale(BOTH, 3 * initial, 3 * initial + moved)
    torch.testing.assert_close(one, two, rtol=1e-6, atol=0)  # float32 rounding


@pytest.mark.parametrize("still", ["text", "vision"])
def test_a_tower_that_did_not_move_is_an_error(still):
    initial = randn(5, BOTH.size, name="own")
    slots = BOTH.unpack(torch.ones(5, BOTH.size))
    moved = Prompts({k: t * (not k.startswith(still)) for k, t in slots.items()})
    with pytest.raises(TrainingError, match=rf"did not move the {still} prompts.*overfit.steps"):
        residual_scale(BOTH, initial, initial + BOTH.pack(moved))


def test_targets_that_are_not_finite_are_an_error():
    initial = randn(5, BOTH.size, name="own")
    with pytest.raises(TrainingError, match="text prompts"):
        residual_scale(BOTH, initial, initial + torch.nan)
