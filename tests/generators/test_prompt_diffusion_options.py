"""Every option of prompt diffusion: exact before training, trains, and samples everywhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.generators.toy import BOTH, FEATURES, bits, linear_pairs, make, moved, never, randn

from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import DiffusionConfig
from diffuprompt.generators.fitting import fit

pytestmark = pytest.mark.usefixtures("_small")

OPTIONS: dict[str, dict[str, Any]] = {
    "eps": {"prediction": "eps"},
    "v": {"prediction": "v", "weight": "min_snr"},
    "edm": {"prediction": "edm", "noise": "log_normal", "sigma_start": 20.0},
    "flow": {"prediction": "flow", "noise": "uniform_u", "sigma_start": 20.0},
    "steps": {"noise": "steps"},
    "min-snr": {"weight": "min_snr"},
    "guided": {"drop_condition": 0.3, "guidance": 2.0},
    "ensemble": {"ensemble": 3},
    "near-start": {"sigma_start": 1.0},
    "sgd": {"recipe": "sgd", "normaliser": "none"},
    "all": {
        "prediction": "edm", "noise": "log_normal", "weight": "min_snr", "drop_condition": 0.2,
        "guidance": 0.5, "ensemble": 2, "sigma_start": 5.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_untrained_returns_the_own_prompts(options):
    generator = make(BOTH, **options).eval()
    own = randn(3, BOTH.size, name="own", dtype=torch.float32)
    with torch.no_grad():
        for name in SAMPLERS:
            out = generator.sample(
                randn(3, FEATURES, name="features", dtype=torch.float32), own, sampler=name
            )
            assert torch.equal(out, own), name


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_trains_a_few_steps_and_samples_with_every_sampler(options):
    pairs = linear_pairs(8, BOTH)
    generator, twin = make(BOTH, **options), make(BOTH, **options)
    start = bits(generator)
    for each in (generator, twin):
        result = fit(each, pairs, lambda flat, index: flat.square().mean())
    assert result["loss"] == pytest.approx(result["diffusion"] + result["ce"], rel=1e-5)
    assert bits(generator) == bits(twin)  # the streams are named, whatever the option draws
    assert bits(generator) != start
    with torch.no_grad():
        for name in SAMPLERS:
            out = generator.sample(pairs.features[:2], pairs.initial[:2], sampler=name)
            assert bool(torch.isfinite(out).all()), name
            assert not torch.equal(out, pairs.initial[:2]), name


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "sgd"])
def test_a_picture_does_not_see_its_batch(name):
    options = OPTIONS[name]
    generator = moved(BOTH, **options)
    features, own = randn(3, FEATURES, name="features"), randn(3, BOTH.size, name="own")
    together = generator.sample(features, own)
    assert float((together - own).abs().max()) > 1e-3
    alone = [generator.sample(features[i : i + 1], own[i : i + 1]) for i in range(3)]
    # float64 rounding through at most ten evaluations; the noise of another row is 1e-2
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-9)


def test_no_option_is_the_default_bit_for_bit():
    """Guidance 1 and an ensemble of 1 are no guidance and no ensemble; a null alone is unseen."""
    features, own = randn(3, FEATURES, name="features"), randn(3, BOTH.size, name="own")
    plain = moved(BOTH)
    nulled = make(BOTH, drop_condition=0.1).double().eval().requires_grad_(False)
    kept = nulled.network.state_dict()
    nulled.load_state_dict({**plain.state_dict(), "network.null": kept["null"]})
    assert torch.equal(nulled.sample(features, own), plain.sample(features, own))


def test_an_ensemble_is_the_mean_of_its_draws_and_draws_are_disjoint():
    features, own = randn(3, FEATURES, name="features"), randn(3, BOTH.size, name="own")
    one, three = moved(BOTH), moved(BOTH, ensemble=3)
    single = [one.sample(features, own, draw=k) for k in range(6)]
    assert not torch.allclose(single[0], single[1], atol=1e-4)
    # float64 rounding of means taken before and after scaling
    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(three.sample(features, own), sum(single[:3]) / 3, **exact)
    torch.testing.assert_close(three.sample(features, own, draw=1), sum(single[3:]) / 3, **exact)


def test_a_small_start_is_a_start_at_the_own_prompts():
    """There is no option for it: the first state is V0 + s * sigma_start * noise."""
    seen = []
    for start in (1.0, 0.25):
        generator = moved(BOTH, sigma_start=start, sampler="euler")
        inside = generator.network.forward

        def watched(z, *args, inside=inside, **kwargs):
            seen.append(z)
            return inside(z, *args, **kwargs)

        generator.network.forward = watched
        generator.sample(randn(2, FEATURES, name="f"), randn(2, BOTH.size, name="own"))
        want = start * generator.noise / (1 + start**2) ** 0.5  # the variance-preserving state
        torch.testing.assert_close(seen[0], want.expand(2, -1), rtol=0, atol=1e-12)
        seen.clear()


def test_guidance_moves_away_from_the_prompts_without_a_condition():
    features, own = randn(3, FEATURES, name="features"), randn(3, BOTH.size, name="own")

    def sampled(w):
        return moved(BOTH, drop_condition=0.1, guidance=w, sampler="euler", nfe=1).sample(
            features, own
        )

    blind, seen = sampled(0.0), sampled(1.0)
    torch.testing.assert_close(sampled(2.5), blind + 2.5 * (seen - blind), rtol=0, atol=1e-9)
    # without a condition all images get the same residual
    residual = blind - own
    torch.testing.assert_close(residual, residual[:1].expand(3, -1), rtol=0, atol=1e-12)


def test_a_dropped_condition_teaches_its_network_nothing():

    def moved_by(drop):
        still = {"ce_weight": 0.0, "ema": 0.0, "weight_decay": 0.0}
        generator = make(BOTH, drop_condition=drop, epochs=3, pi="meta_net", **still)
        before = generator.network.pi.layers[0].weight.detach().clone()
        fit(generator, linear_pairs(16, BOTH), never)
        return float((generator.network.pi.layers[0].weight.detach() - before).norm())

    # none of 48 rows is kept: no gradient at all
    assert moved_by(1 - 1e-9) == 0 < moved_by(1e-9)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"ensemble": 0}, r"diffusion\.ensemble: got 0"),
        ({"drop_condition": 1.0}, r"diffusion\.drop_condition"),
        ({"guidance": 2.0}, r"diffusion\.guidance: 2 needs .* diffusion\.drop_condition"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, match):
    with pytest.raises(ConfigError, match=match):
        DiffusionConfig(**wrong)
