"""What holds for every generator, diffusion and its rivals alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.contract.generators import SMALL, shrink_networks
from tests.generators.toy import (
    BOTH,
    FEATURES,
    SPEC,
    bits,
    linear_pairs,
    make_any,
    never,
    part,
    randn,
)

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import FitConfig, RivalConfig
from diffuprompt.generators.fitting import fit, quality
from diffuprompt.generators.flow import _hidden
from diffuprompt.generators.kinds import KINDS
from diffuprompt.generators.networks import budget
from diffuprompt.generators.registry import build_generator, generator_class
from diffuprompt.prompts import PromptSpec, Slot

RIVALS = tuple(name for name in KINDS if name != "diffusion")
NOISY = ("diffusion", "gan", "vae", "flow")


@pytest.fixture
def _small(monkeypatch):
    shrink_networks(monkeypatch)


def slots(*shapes: tuple[str, int, int, int]) -> PromptSpec:
    """A spec of (tower, layers, length, width)."""
    return PromptSpec(
        tuple(
            Slot(name=f"{tower}.{layer}", tower=tower, layer=layer, length=length, width=width)
            for tower, layers, length, width in shapes
            for layer in range(layers)
        )
    )


def squares(flat, index):
    return flat.square().mean()


@pytest.mark.parametrize("name", KINDS)
def test_what_is_said_of_a_kind_is_so(name):
    kind, generator = KINDS[name], make_any(name)
    assert type(generator) is generator_class(kind)
    assert (generator.name, generator.kind) == (name, kind)
    assert set(kind.reads) <= set(kind.config.__dataclass_fields__)
    assert kind.draws_noise == (generator.num_noise > 0)
    features, own = torch.ones(2, FEATURES), torch.zeros(2, SPEC.size)
    if kind.stepwise:
        assert generator.regression(features, own).shape == own.shape
    else:
        with pytest.raises(ConfigError, match=rf"{name} has no regression of its own"):
            generator.regression(features, own)
    assert generator.fit_solver(features) == {}
    assert generator.solver() is None
    assert generator.solver(3) is None
    assert generator.fitted_for == ()


def test_unknown_generators_are_refused():
    with pytest.raises(ConfigError, match=r"'mpl'.*Did you mean 'mlp'\?"):
        build_generator("mpl", SPEC, FEATURES, RivalConfig(), FitConfig(), seed=0)


@pytest.mark.parametrize("wrong", [{"latent": 0}, {"kl_weight": -1.0}, {"temperature": -0.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=rf"rival\.{next(iter(wrong))}: got .* expected a"):
        RivalConfig(**wrong)


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize(
    "spec",
    [slots(("text", 1, 4, 512)), slots(("text", 9, 2, 512), ("vision", 9, 2, 768))],
    ids=["cocoop", "promptsrc"],
)
def test_rivals_have_the_budget_of_diffusion(spec, size, monkeypatch):
    """Within a factor of two, at the shapes of ViT-B/16; no weight is drawn, to be fast."""
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, *args, **kwargs: self)
    diffusion = count(make_any("diffusion", spec, width=512, network=size).network)
    for name in ("mlp", "transformer", "gan", "vae"):
        generator = make_any(name, spec, width=512, size=size)
        assert 0.5 < count(generator.network) / diffusion < 2, name
    hidden = _hidden(budget(size), 512, 64)  # zuko draws its weights otherwise
    one = (32 + 512 + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 64
    assert 0.5 < 8 * one / diffusion < 2


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.usefixtures("_small")
def test_the_flow_has_the_couplings_that_are_counted():
    generator = make_any("flow", width=16)
    hidden, size = _hidden(budget("small"), 16, 12), 12
    one = (6 + 16 + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 12 + 2 * size
    assert count(generator.network.couplings) == 8 * one


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("spec", [SPEC, BOTH], ids=["text", "both"])
@pytest.mark.parametrize("name", RIVALS)
def test_untrained_returns_the_own_prompts(name, spec):
    generator = make_any(name, spec).eval()
    features = randn(3, FEATURES, name="features", dtype=torch.float32)
    own = randn(3, spec.size, name="own", dtype=torch.float32)
    for draw in (0, 1):
        assert torch.equal(generator.sample(features, own, draw=draw), own)
        assert torch.equal(generator.sample(features, own[:1], draw=draw), own[:1].expand(3, -1))


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", RIVALS)
def test_building_touches_no_global_stream_and_depends_on_the_seed(name):
    state = torch.get_rng_state()
    one, two, other = make_any(name), make_any(name), make_any(name, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert bits(one) == bits(two)
    assert bits(one) != bits(other)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", KINDS)
def test_draws_are_other_samples_only_where_there_is_noise(name):
    generator = trained(name)
    features, own = randn(4, FEATURES, name="features"), randn(4, SPEC.size, name="own")
    one = generator.sample(features, own)
    two = generator.sample(features, own, draw=1)
    assert torch.equal(two, generator.sample(features, own, draw=1))
    assert not torch.equal(two, generator.sample(features, own, draw=2)) or name not in NOISY
    assert torch.equal(one, two) == (name not in NOISY)
    # the same draw for all images, and no image sees its batch: float64 rounding
    alone = torch.cat([generator.sample(features[i:][:1], own[i:][:1], draw=1) for i in range(4)])
    torch.testing.assert_close(alone, two, rtol=0, atol=1e-9)
    assert float(((one - own)[0] - (one - own)[1]).abs().max()) > 1e-6


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", ["gan", "vae", "flow"])
def test_without_temperature_all_draws_are_one(name):
    generator = trained(name, temperature=0.0)
    features, own = randn(2, FEATURES, name="features"), randn(2, SPEC.size, name="own")
    one, two = (generator.sample(features, own, draw=k) for k in (0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, trained(name).sample(features, own))


def trained(name, **config):
    """Two epochs, then weights moved at random, so that samples look at everything."""
    generator = make_any(name, ce_weight=0.0, **config).double()
    fit(generator, linear_pairs(16, dtype=torch.float64), never)
    stream = torch_stream(1, "moved")
    with torch.no_grad():
        for p in generator.network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=stream)
    return generator.requires_grad_(False)


# Epochs, rate, and bounds on the held-out error of a sample and of the mean of 8, as shares of
# |V* - V0|^2: what was measured (in brackets) with half of it, or nearly half, as a margin.
LEARNS = {
    "mlp": (20, 1e-2, 0.2, 0.2),  # (0.13)
    "transformer": (20, 1e-2, 0.8, 0.8),  # (0.60)
    "gan": (60, 5e-3, 0.3, 0.3),  # (0.08): it starts to learn after 30 epochs
    "vae": (20, 1e-2, 0.7, 0.7),  # (0.45)
    "flow": (15, 1e-2, 0.9, 0.7),  # (0.59, 0.42)
}


@pytest.mark.parametrize("name", RIVALS)
def test_fit_learns_a_linear_map(name, monkeypatch):
    """V* - V0 = A f, on images that were not seen."""
    shrink_networks(monkeypatch, replace(SMALL, layers=1))
    epochs, lr, bound, bound_mean = LEARNS[name]
    pairs = linear_pairs(160)
    train, held = part(pairs, slice(0, 128)), part(pairs, slice(128, 160))
    generator = make_any(name, epochs=epochs, batch=32, lr=lr, ce_weight=0.0, latent=4)
    result = fit(generator, train, never)
    assert result["steps"] == 4 * epochs
    assert not generator.training
    size = (held.target - held.initial).square().mean()
    with torch.no_grad():
        draws = [generator.sample(held.features, held.initial, draw=k) for k in range(8)]
    error = float((draws[0] - held.target).square().mean() / size)
    mean = float((torch.stack(draws).mean(0) - held.target).square().mean() / size)
    assert error < bound
    assert mean < bound_mean


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", KINDS)
def test_quality_is_how_near_and_how_spread_samples_are(name):
    pairs = linear_pairs(12)
    generator = make_any(name, ce_weight=0.0)
    measured = fit(generator, pairs, never)
    result = quality(generator, pairs)
    size = (pairs.target - pairs.initial).square().mean()
    with torch.no_grad():
        flat = [generator.sample(pairs.features, pairs.initial, draw=k) for k in range(4)]
    error = float((flat[0] - pairs.target).square().mean() / size)
    assert result["generated_mse"] == pytest.approx(error, rel=1e-5)
    variance = torch.stack(flat).var(0).mean()
    assert result["generated_spread"] == pytest.approx(float((variance / size).sqrt()), abs=1e-6)
    assert ("normaliser_explained" in measured) == (name == "flow")


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("stop_at", [1, 3])
def test_fit_resumes_bit_for_bit(name, stop_at, tmp_path, monkeypatch):
    """Interrupted inside the task loss of one step; with dropout, and with a critic."""
    shrink_networks(monkeypatch, replace(SMALL, dropout=0.1))
    pairs, calls = linear_pairs(8, BOTH), []

    def task_loss(flat, index):
        calls.append(index)
        return flat.square().mean()

    whole = make_any(name, BOTH)
    want = fit(whole, pairs, task_loss, folder=tmp_path / "whole", fingerprint="f")
    assert len(calls) == 4

    def broken(flat, index):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return task_loss(flat, index)

    calls.clear()
    saved = {"folder": tmp_path / "run", "fingerprint": "f", "save_every_s": 0}  # always
    with pytest.raises(KeyboardInterrupt):
        fit(make_any(name, BOTH), pairs, broken, **saved)
    again = make_any(name, BOTH)
    got = fit(again, pairs, task_loss, folder=tmp_path / "run", fingerprint="f")
    assert len(calls) == 4
    assert bits(again) == bits(whole)
    assert {k: v for k, v in got.items() if k != "seconds"} == {
        k: v for k, v in want.items() if k != "seconds"
    }


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", RIVALS)
def test_every_weight_is_trained_and_nothing_of_training_is_saved(name):
    generator = make_any(name, ema=0.0, weight_decay=0.0)
    before = {k: p.clone() for k, p in generator.network.named_parameters()}
    fit(generator, linear_pairs(16), squares)
    for key, parameter in generator.network.named_parameters():
        assert not torch.equal(parameter, before[key]), key
    assert not any("critic" in key for key in generator.state_dict())
