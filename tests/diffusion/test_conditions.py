"""What the network is told: adaptive blocks, text tokens, the null condition and guidance."""

from dataclasses import replace

import pytest
import torch
from tests.diffusion.networks import TINY, E, F, inputs, tiny
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.schedule import linear
from diffuprompt.diffusion.transformer import TransformerConfig
from diffuprompt.errors import ConfigError, PromptShapeError

SCHEDULE = linear()
ADALN = replace(TINY, conditioning="adaln")
TEXTS = replace(TINY, texts=2)
NULL = replace(TINY, null=True)
ALL = replace(TINY, conditioning="adaln", texts=2, null=True)
OPTIONS = {"adaln": ADALN, "texts": TEXTS, "null": NULL, "all": ALL}


def told(config, batch=4, dtype=torch.float32):
    """Inputs with as many texts as the network reads."""
    z, image, u = inputs(batch, dtype=dtype)
    texts = torch.randn(batch, config.texts, E, generator=generator(9), dtype=dtype)
    return z, torch.cat([image[:, None], texts], dim=1) if config.texts else image, u


@pytest.mark.parametrize("config", OPTIONS.values(), ids=OPTIONS)
def test_untrained_output_is_exactly_zero(config):
    assert torch.equal(tiny(config, trained=False)(*told(config)), torch.zeros(4, F))


@pytest.mark.parametrize("config", OPTIONS.values(), ids=OPTIONS)
def test_options_leave_the_other_initial_weights_alone_or_draw_their_own(config):
    """What starts at zero draws nothing: with it, the other weights are the plain network's."""
    plain, other = tiny(trained=False).state_dict(), tiny(config, trained=False).state_dict()
    new = set(other) - set(plain)
    assert all(not other[name].any() for name in new if not name.startswith("text_"))
    if not config.texts:  # encoders of text do draw
        same = set(plain) - {"positions"}
        assert all(torch.equal(plain[name], other[name]) for name in same)


def test_adaptive_blocks_start_as_the_identity():
    network = tiny(ADALN, trained=False)
    x = torch.randn(3, 5, 32, generator=generator())
    for block in network.blocks:
        assert torch.equal(block(x, None, torch.randn(3, 32, generator=generator(1))), x)


def test_an_adaptive_block_is_dits_formula():
    block = tiny(ADALN).blocks[0]
    x, c = torch.randn(3, 5, 32, generator=generator()), torch.randn(3, 32, generator=generator(1))
    s1, c1, g1, s2, c2, g2 = (
        block.modulation.weight[i * 32 : (i + 1) * 32] @ c.T
        + block.modulation.bias[i * 32 : (i + 1) * 32, None]
        for i in range(6)
    )
    norm = torch.nn.functional.layer_norm
    want = x.clone()
    for b in range(3):
        row = x[b]
        seen = norm(row, (32,)) * (1 + c1[:, b]) + s1[:, b]
        q, k, v = (block.qkv.weight @ seen.T + block.qkv.bias[:, None]).T.split(32, dim=1)
        heads = []
        for h in range(4):
            at = slice(8 * h, 8 * h + 8)
            heads.append((q[:, at] @ k[:, at].T / 8**0.5).softmax(1) @ v[:, at])
        row = row + g1[:, b] * block.out(torch.cat(heads, dim=1))
        seen = norm(row, (32,)) * (1 + c2[:, b]) + s2[:, b]
        hidden = torch.nn.functional.gelu(block.mlp_in(seen))
        want[b] = row + g2[:, b] * block.mlp_out(hidden)
    # fp32 sums of 32 to 128 terms in another order, on values up to 10.
    torch.testing.assert_close(block(x, None, c), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", OPTIONS.values(), ids=OPTIONS)
def test_every_parameter_learns_and_every_condition_is_read(config):
    network = tiny(config)
    z, condition, u = told(config)
    condition = condition.clone().requires_grad_()
    u = u.clone().requires_grad_()
    keep = torch.tensor([True, False, True, True]) if config.null else None
    network(z, condition, u, keep=keep).square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []
    assert bool(u.grad.all())
    read = condition.grad.flatten(1).any(1) if not config.texts else condition.grad.any(-1).all(1)
    assert read.tolist() == [True, not config.null, True, True]


@pytest.mark.parametrize("config", OPTIONS.values(), ids=OPTIONS)
def test_rows_are_independent_and_one_condition_serves_all(config):
    network, (z, condition, u) = tiny(config), told(config)
    together = network(z, condition, u)
    # fp32 matrix products of other sizes sum in another order: 1e-6 of values near 1, with room.
    close = {"rtol": 1e-4, "atol": 1e-4}
    for i in range(4):
        one = network(z[i : i + 1], condition[i : i + 1], u[i : i + 1])
        torch.testing.assert_close(one[0], together[i], **close)
    repeated = network(z, condition[:1].expand(4, *condition.shape[1:]), u[:1].expand(4))
    torch.testing.assert_close(network(z, condition[:1], u[:1]), repeated, **close)


def test_a_dropped_row_does_not_see_its_condition():
    network, (z, condition, u) = tiny(ALL), told(ALL)
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
    network, (z, condition, _) = tiny(NULL), told(NULL)
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


@pytest.mark.parametrize("config", [NULL, ALL], ids=["null", "all"])
def test_every_sampler_takes_a_guided_denoiser(config):
    """Twice the evaluations of the unguided run, and not its result."""
    network, (z, condition, _) = tiny(config), told(config)
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
    z, condition, u = told(TEXTS)
    with pytest.raises(PromptShapeError, match=r"condition: expected \(4\|1, 3, 48\), got \(4, 48"):
        tiny(TEXTS)(z, condition[:, 0], u)
    with pytest.raises(PromptShapeError, match=r"condition: expected \(4\|1, 48\), got \(4, 3, 48"):
        tiny()(z, condition, u)
    with pytest.raises(PromptShapeError, match=r"keep: expected \(4\|1,\), got \(2,\)"):
        tiny(NULL)(z, condition[:, 0], u, keep=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"keep: .*null=True"):
        tiny()(z, condition[:, 0], u, keep=torch.ones(4, dtype=torch.bool))
    with pytest.raises(ConfigError, match="conditioning: expected 'tokens' or 'adaln'"):
        TransformerConfig(conditioning="film")
