from __future__ import annotations

import pytest
import torch
from tests.generators.toy import BOTH, randn

from diffuprompt.errors import ConfigError, TrainingError
from diffuprompt.generators.config import FitConfig
from diffuprompt.generators.normalise import NORMALISERS, make_normaliser, residual_scale
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


def measured(name, spec=BOTH, *, rank=BOTH.size, count=50):
    """A normaliser that has seen ``count`` targets, in float64, with them."""
    normaliser = make_normaliser(FitConfig(normaliser=name, rank=rank), spec).double()
    initial = randn(count, BOTH.size, name="own")
    target = initial + residual()[:count]
    return normaliser, initial, target, normaliser.measure(initial, target)


@pytest.mark.parametrize("name", NORMALISERS)
def test_decode_is_the_inverse_of_encode(name):
    """To float64 rounding, of targets and of prompts that were never measured."""
    normaliser, initial, target, _ = measured(name)
    for flat in (target, initial + 3 * residual().flip(0)):
        z = normaliser.encode(flat, initial)
        assert z.shape == (50, normaliser.size)
        torch.testing.assert_close(normaliser.decode(z, initial), flat, rtol=0, atol=1e-10)
    shared = normaliser.decode(z, initial[:1])
    alone = normaliser.decode(z[:1], initial[:1])
    torch.testing.assert_close(shared[:1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NORMALISERS)
def test_before_measuring_everything_decodes_to_the_own_prompts(name):
    normaliser = make_normaliser(FitConfig(normaliser=name, rank=7), BOTH)
    own = randn(3, BOTH.size, name="own", dtype=torch.float32)
    z = 100 * randn(3, normaliser.size, name="z", dtype=torch.float32)
    assert torch.equal(normaliser.decode(z, own), own)
    assert torch.equal(normaliser.decode(z, own[:1]), own[:1].expand(3, -1))


@pytest.mark.parametrize("name", NORMALISERS)
def test_tokens_cover_the_coordinates(name):
    normaliser = make_normaliser(FitConfig(normaliser=name, rank=20), BOTH)
    assert sum(group.count * group.width for group in normaliser.groups) == normaliser.size
    assert normaliser.size == (20 if name == "whiten" else BOTH.size)


@pytest.mark.parametrize("name", NORMALISERS)
def test_what_was_measured_is_saved(name):
    normaliser, initial, target, _ = measured(name, rank=9)
    other = make_normaliser(FitConfig(normaliser=name, rank=9), BOTH).double()
    other.load_state_dict(normaliser.state_dict())
    z = normaliser.encode(target, initial)
    assert torch.equal(other.encode(target, initial), z)
    assert torch.equal(other.decode(z, initial), normaliser.decode(z, initial))


def test_every_token_has_unit_rms():
    normaliser, initial, target, _ = measured("residual_token")
    z = normaliser.encode(target, initial)
    rms = [part.square().mean().sqrt() for part in z.split([6, 6, 10, 6], dim=1)]
    assert rms == pytest.approx([1.0] * 4, abs=1e-6)  # the scale is measured in float32
    assert len(normaliser.scale.unique()) == 4


def test_whitened_coordinates_are_uncorrelated_and_of_unit_size():
    normaliser, initial, target, found = measured("whiten", rank=12)
    z = normaliser.encode(target, initial)
    # float32 rounding of the towers' scale enters twice
    torch.testing.assert_close(z.T @ z / 50, torch.eye(12).double(), rtol=0, atol=1e-6)
    assert found["normaliser_rank"] == 12
    kept = (normaliser.decode(z, initial) - initial) / normaliser.scale
    whole = (target - initial) / normaliser.scale
    share = float(kept.square().sum() / whole.square().sum())
    assert found["normaliser_explained"] == pytest.approx(share, abs=1e-6)
    assert 0.4 < share < 0.99
    # the kept directions are the best: what is lost is orthogonal to them
    assert float((kept * (whole - kept)).sum().abs()) < 1e-6 * float(whole.square().sum())


def test_fewer_images_than_directions_leave_the_rest_empty():
    normaliser, initial, target, found = measured("whiten", rank=20, count=5)
    assert (found["normaliser_rank"], normaliser.size) == (5, 20)
    assert found["normaliser_explained"] == pytest.approx(1)
    z = normaliser.encode(target, initial)
    assert float(z[:, 5:].abs().max()) == 0
    torch.testing.assert_close(normaliser.decode(z, initial), target, rtol=0, atol=1e-7)


def test_unknown_normalisers_are_refused():
    with pytest.raises(ConfigError, match=r"fit.normaliser.*Did you mean 'whiten'\?"):
        make_normaliser(FitConfig(normaliser="whitened"), BOTH)  # type: ignore[arg-type]
