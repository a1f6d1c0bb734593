"""AMED in prompt diffusion: fitted after training for every number of evaluations that is asked."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tests.contract.generators import hurry_amed
from tests.generators.toy import FEATURES, SPEC, bits, linear_pairs, make, never, randn

from diffuprompt.diffusion.amed_fit import AmedFit, fit_amed
from diffuprompt.diffusion.grids import make_grid
from diffuprompt.diffusion.unipc import unipc
from diffuprompt.errors import ConfigError
from diffuprompt.generators import prompt_diffusion
from diffuprompt.generators.fitting import fit
from diffuprompt.generators.prompt_diffusion import PromptDiffusion

pytestmark = pytest.mark.usefixtures("_small")
TRAINING = {"sampler": "amed", "epochs": 30, "batch": 32, "ce_weight": 0.0}


@pytest.fixture(scope="module")
def trained() -> tuple[PromptDiffusion, dict[str, float]]:
    patch = pytest.MonkeyPatch()
    from tests.contract.generators import shrink_networks

    shrink_networks(patch)
    shorter = partial(fit_amed, config=AmedFit(interval_steps=40, end_steps=80))
    patch.setattr(prompt_diffusion, "fit_amed", shorter)
    generator = make(**TRAINING)
    fit(generator, linear_pairs(128), never)
    told = generator.fit_solver(linear_pairs(128).features)
    patch.undo()
    return generator, told


def test_five_evaluations_are_nearer_to_the_fine_flow_than_other_samplers(trained):
    """On noise and images that no fit saw; the network answers for real, not in closed form."""
    generator, told = trained
    features = randn(32, FEATURES, name="other", dtype=torch.float32)
    fine = make_grid("log_snr", 60, generator.schedule, sigma_max=80.0)

    @torch.no_grad()
    def error(name: str) -> float:
        total = 0.0
        for draw in range(1, 3):
            x = 80 * generator.draw_noise(draw).expand(32, -1)
            want = unipc(generator.denoise(features), x, fine, order=3)
            got = generator.generate(features, draw, sampler=name)
            total += float((got - want).square().sum() / want.square().sum())
        return total / 2

    assert told["amed_end"] < told["amed_start"] / 3
    errors = {n: error(n) for n in ("amed", "dpmpp_2m", "unipc2", "ddim")}
    assert errors["amed"] == min(errors.values()), errors


def test_it_costs_five_passes_of_the_network(trained, monkeypatch):
    generator, calls = trained[0], []
    forward = type(generator.network).forward

    def counted(*args, **kwargs):
        calls.append(None)
        return forward(*args, **kwargs)

    monkeypatch.setattr(type(generator.network), "forward", counted)
    generator.sample(torch.ones(2, FEATURES), torch.zeros(1, SPEC.size))
    assert len(calls) == 5


def test_the_network_is_as_it_would_be_without(trained):
    plain = make(**{**TRAINING, "sampler": "unipc2"})
    fit(plain, linear_pairs(128), never)
    own = dict(trained[0].network.named_parameters())
    assert all(torch.equal(own[n], p) for n, p in plain.network.named_parameters())
    assert all(p.requires_grad and p.grad is not None for p in own.values())
    assert not any(p.requires_grad for p in trained[0].solver().parameters())


def test_a_finished_fit_is_loaded_and_amed_fitted_alike(tmp_path, monkeypatch):
    hurry_amed(monkeypatch)
    settings = {**TRAINING, "epochs": 1, "batch": 8}
    runs = [make(**settings) for _ in range(2)]
    for generator in runs:
        fit(generator, linear_pairs(16), never, folder=tmp_path, fingerprint="f")
    told = [generator.fit_solver(linear_pairs(16).features) for generator in runs]
    assert bits(runs[0]) == bits(runs[1])
    assert told[0]["amed_end"] == told[1]["amed_end"]


def test_the_state_dict_carries_the_fit(trained):
    other = make(**TRAINING, seed=4)
    other.solver()  # made where the artifact says that there is one
    other.load_state_dict(trained[0].state_dict())
    features = randn(3, FEATURES, name="features", dtype=torch.float32)
    own = torch.zeros(1, SPEC.size)
    assert torch.equal(other.sample(features, own), trained[0].sample(features, own))


def test_a_picture_does_not_see_its_batch_after_a_fit(trained):
    generator = trained[0]
    features = randn(4, FEATURES, name="features", dtype=torch.float32)
    own = torch.zeros(4, SPEC.size)
    together = generator.sample(features, own)
    alone = [generator.sample(features[i : i + 1], own[i : i + 1]) for i in range(4)]
    # float32 of states up to 80 that end at 0.05: 80 * 6e-8 * the network's slope
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-5)


def test_few_images_are_enough_to_run(monkeypatch):
    hurry_amed(monkeypatch)
    monkeypatch.setattr(prompt_diffusion, "AMED_BATCH", 2)
    generator = make(**{**TRAINING, "epochs": 1, "batch": 3})
    fit(generator, linear_pairs(3), never)
    assert generator.fit_solver(linear_pairs(3).features)["amed_end"] > 0


def test_what_was_not_fitted_is_refused(trained):
    features, own = torch.ones(1, FEATURES), torch.zeros(1, SPEC.size)
    for nfe in (7, 6):  # 6 has the grid of 5
        with pytest.raises(ConfigError, match=rf"evaluations: 5; got {nfe}\. .*fit it again"):
            trained[0].sample(features, own, nfe=nfe)
    with pytest.raises(ConfigError, match="evaluations: none; got"):
        make().sample(features, own, sampler="amed")
    assert trained[0].sample(features, own, sampler="unipc2", nfe=7).isfinite().all()


def test_one_network_is_fitted_for_several_numbers_and_each_fit_leaves_the_others(
    trained, monkeypatch
):
    hurry_amed(monkeypatch)
    generator = make(**TRAINING)
    features, own = linear_pairs(128).features, torch.zeros(1, SPEC.size)
    generator.solver()
    generator.load_state_dict(trained[0].state_dict())
    five = generator.sample(features[:3], own)
    told = {nfe: generator.fit_solver(features[:16], nfe=nfe) for nfe in (3, 6)}
    assert generator.fitted_for == (3, 5, 6)
    assert all(values["amed_end"] <= values["amed_start"] for values in told.values())
    assert torch.equal(generator.sample(features[:3], own), five)
    drawn = [generator.sample(features[:3], own, nfe=nfe) for nfe in (3, 5, 6)]
    assert torch.equal(drawn[1], five)
    assert not torch.equal(drawn[0], five)
    assert not torch.equal(drawn[2], five)
    again = make(**TRAINING)
    again.solver()
    again.load_state_dict(trained[0].state_dict())
    again.fit_solver(features[:16], nfe=6)  # in another order, and without the one of 3
    assert torch.equal(again.sample(features[:3], own, nfe=6), drawn[2])
