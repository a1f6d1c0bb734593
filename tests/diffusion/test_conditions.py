"""What the network is told: the null condition and guidance."""

from dataclasses import replace

import pytest
import torch
from tests.diffusion.networks import TINY, inputs, tiny
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.schedule import linear
from diffuprompt.errors import ConfigError, PromptShapeError

SCHEDULE = linear()
NULL = replace(TINY, null=True)


def test_a_null_condition_leaves_the_other_initial_weights_alone():
    """It starts at zero and draws nothing."""
    plain, other = tiny(trained=False).state_dict(), tiny(NULL, trained=False).state_dict()
    assert set(other) - set(plain) == {"null"}
    assert not other["null"].any()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_every_parameter_learns_and_only_kept_conditions_are_read():
    network, (z, condition, u) = tiny(NULL), inputs(4)
    condition.requires_grad_()
    u.requires_grad_()
    keep = torch.tensor([True, False, True, True])
    network(z, condition, u, keep=keep).square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []
    assert bool(u.grad.all())
    assert condition.grad.any(1).tolist() == keep.tolist()


def test_a_dropped_row_does_not_see_its_condition():
    network, (z, condition, u) = tiny(NULL), inputs(4)
    keep = torch.tensor([True, False, True, False])
    out, other = (network(z, c, u, keep=keep) for c in (condition, condition.flip(0)))
    assert torch.equal(out[~keep], other[~keep])
    assert not torch.isclose(out[keep], other[keep]).all()
    torch.testing.assert_close(network(z, condition, u)[keep], out[keep], rtol=1e-5, atol=1e-5)


def counting(network):
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs["keep"])
        return network(*args, **kwargs)

    return counted, calls


def test_guidance_is_its_formula_and_doubles_the_evaluations():
    network, (z, condition, _) = tiny(NULL), inputs(4)
    sigma = torch.tensor(2.0)
    counted, calls = counting(network)

    def guess(w, **given):
        return make_denoiser(counted, SCHEDULE, condition, guidance=w, **given)(z, sigma)

    seen = guess(1.0)
    assert len(calls) == 1
    assert torch.equal(seen, make_denoiser(network, SCHEDULE, condition)(z, sigma))
    blind = guess(1.0, keep_B=torch.zeros(1, dtype=torch.bool))
    calls.clear()
    torch.testing.assert_close(guess(3.0), blind + 3 * (seen - blind))
    assert len(calls) == 2
    torch.testing.assert_close(guess(0.0), blind)
    assert not torch.isclose(seen, blind).all()
    other = make_denoiser(network, SCHEDULE, condition.flip(0), guidance=0.0)(z, sigma)
    torch.testing.assert_close(other, blind, rtol=1e-5, atol=1e-5)


def test_every_sampler_takes_a_guided_denoiser():
    """Twice the evaluations of the unguided run, and not its result."""
    network, (z, condition, _) = tiny(NULL), inputs(4)
    grid = torch.tensor([20.0, 3.0, 0.7, 0.1, 0.0], dtype=torch.float64)
    with torch.inference_mode():
        for name, sampler in SAMPLERS.items():
            outs, counts = [], []
            for w in (1.0, 2.0):
                counted, calls = counting(network)
                denoise = make_denoiser(counted, SCHEDULE, condition, guidance=w)
                outs.append(sampler(denoise, 20 * z, grid, generator=generator(2)))
                counts.append(len(calls))
            assert bool(torch.isfinite(outs[1]).all()), name
            assert not torch.equal(*outs), name
            assert counts[1] == 2 * counts[0], name


def test_wrong_conditions_are_refused():
    z, condition, u = inputs(4)
    with pytest.raises(PromptShapeError, match=r"condition: expected \(4\|1, 48\), got \(4, 1, 48"):
        tiny()(z, condition[:, None], u)
    with pytest.raises(PromptShapeError, match=r"keep: expected \(4\|1,\), got \(2,\)"):
        tiny(NULL)(z, condition, u, keep=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"keep: .*null=True"):
        tiny()(z, condition, u, keep=torch.ones(4, dtype=torch.bool))
