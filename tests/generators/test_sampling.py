"""Sampled prompts: the learner's own before training, the same every time, one image at a time."""

from __future__ import annotations

import pytest
import torch
from tests.generators.toy import BOTH, FEATURES, SPEC, bits, make, moved, randn

from diffuprompt.diffusion.grids import GRIDS
from diffuprompt.diffusion.samplers import NEEDS_FIT, SAMPLERS
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import DiffusionConfig, FitConfig
from diffuprompt.prompts import PromptSpec

pytestmark = pytest.mark.usefixtures("_small")


@pytest.mark.parametrize("sampler", [*SAMPLERS, *NEEDS_FIT])
@pytest.mark.parametrize("spec", [SPEC, BOTH], ids=["text", "both"])
def test_untrained_returns_the_own_prompts_for_every_sampler(spec, sampler):
    generator = make(spec, sampler=sampler).eval()
    features = randn(3, FEATURES, name="features", dtype=torch.float32)
    own = randn(3, spec.size, name="own", dtype=torch.float32)
    assert torch.equal(generator.sample(features, own), own)
    assert torch.equal(generator.sample(features, own[:1]), own[:1].expand(3, -1))


@pytest.mark.parametrize("grid", GRIDS)
def test_untrained_returns_the_own_prompts_on_every_grid(grid):
    generator = make(grid=grid).eval()
    own = randn(2, SPEC.size, name="own", dtype=torch.float32)
    features = randn(2, FEATURES, name="features", dtype=torch.float32)
    for nfe in (1, 2, 5, 20):
        assert torch.equal(generator.sample(features, own, nfe=nfe), own)


@pytest.mark.parametrize("network", ["small", "paper"])
def test_the_real_networks_too(network, monkeypatch):
    monkeypatch.undo()
    generator = make(BOTH, network=network).eval()
    own = randn(1, BOTH.size, name="own", dtype=torch.float32)
    features = randn(1, FEATURES, name="features", dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(generator.sample(features, own), own)
    assert sum(p.numel() for p in generator.parameters()) > 2e6


def test_building_touches_no_global_stream_and_depends_on_the_seed():
    state = torch.get_rng_state()
    one, two, other = make(), make(), make(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert bits(one) == bits(two)
    assert not torch.equal(one.noise, other.noise)
    assert not torch.equal(one.network.time_encoder, other.network.time_encoder)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"sampler": "dpmpp_2n"}, r"sampler: .*'dpmpp_2n'.*Did you mean 'dpmpp_2[ms]'\?"),
        ({"grid": "logsnr"}, r"grid: .*Did you mean 'log_snr'\?"),
        ({"schedule": "cosin"}, r"schedule: .*Did you mean 'cosine'\?"),
    ],
)
def test_wrong_names_fail_in_the_constructor(wrong, match):
    with pytest.raises(ConfigError, match=match):
        make(**wrong)


def test_a_wrong_network_fails_in_the_constructor(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"Did you mean 'small'\?"):
        make(network="smal")


def test_nothing_to_generate_is_an_error():
    with pytest.raises(ConfigError, match="groups"):
        make(PromptSpec())


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"epochs": -1}, {"batch": 0}, {"nfe": 0}, {"beta": -1.0},
              {"ce_weight": -0.1}, {"ce_samples": -1}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong):
    (name,) = wrong
    kind = DiffusionConfig if name in DiffusionConfig.__dataclass_fields__ else FitConfig
    with pytest.raises(ConfigError, match=rf"\.{name}: got .* expected a"):
        kind(**wrong)


@pytest.mark.parametrize("sampler", [*SAMPLERS, *NEEDS_FIT])
def test_a_picture_does_not_see_its_batch(sampler):
    """One fixed noise for all, also inside samplers that draw on the way."""
    generator = moved(BOTH, sampler=sampler)
    features, own = randn(4, FEATURES, name="features"), randn(4, BOTH.size, name="own")
    together = generator.sample(features, own)
    assert float((together - own).abs().max()) > 1e-2
    assert float(((together - own)[0] - (together - own)[1]).abs().max()) > 1e-4
    # float64 rounding through at most ten evaluations; the noise of another row is 1e-2
    exact = {"rtol": 0, "atol": 1e-9}
    alone = [generator.sample(features[i : i + 1], own[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(torch.cat(alone), together, **exact)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        generator.sample(features[order], own[order]), together[order], **exact
    )


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm"])
def test_sampling_is_deterministic_and_leaves_the_global_stream(sampler):
    generator = moved(sampler=sampler)
    features, own = randn(3, FEATURES, name="features"), randn(3, SPEC.size, name="own")
    state = torch.get_rng_state()
    first = generator.sample(features, own)
    torch.manual_seed(99)
    second = generator.sample(features, own)
    torch.set_rng_state(state)
    assert torch.equal(first, second)
    again = moved(sampler=sampler).sample(features, own)
    assert torch.equal(first, again)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm", "heun"])
def test_sampling_is_differentiable(sampler):
    """By the feature (checked against differences), by the own prompts, by every weight it uses."""
    generator = moved(sampler=sampler)
    features = randn(2, FEATURES, name="features").requires_grad_()
    own = randn(2, SPEC.size, name="own").requires_grad_()
    generator.network.requires_grad_(True)
    weights = randn(2, SPEC.size, name="weights")
    (generator.sample(features, own) * weights).sum().backward()
    torch.testing.assert_close(own.grad, weights, rtol=0, atol=1e-12)  # own prompts are only added
    assert all(p.grad is not None for p in generator.network.parameters())
    step = 1e-6 * randn(2, FEATURES, name="step")
    with torch.no_grad():
        up = (generator.sample(features + step, own) * weights).sum()
        down = (generator.sample(features - step, own) * weights).sum()
    want, got = float(up - down) / 2, float((features.grad * step).sum())
    assert abs(want) > 1e-9
    assert got == pytest.approx(want, rel=1e-4)  # central differences of a smooth function


def test_the_residual_does_not_depend_on_the_own_prompts():
    generator = moved()
    features, own = randn(3, FEATURES, name="features"), randn(3, SPEC.size, name="own")
    one = generator.sample(features, own) - own
    two = generator.sample(features, 5 * own[:1]) - 5 * own[:1]
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_options_of_one_call_are_those_of_the_configuration():
    features, own = randn(2, FEATURES, name="features"), randn(2, SPEC.size, name="own")
    asked = moved().sample(features, own, sampler="ddim", nfe=7)
    assert torch.equal(asked, moved(sampler="ddim", nfe=7).sample(features, own))
    assert not torch.equal(asked, moved().sample(features, own))
    with pytest.raises(ConfigError, match="sampler"):
        moved().sample(features, own, sampler="ddmi")
