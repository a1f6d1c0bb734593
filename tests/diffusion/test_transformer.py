from dataclasses import replace

import pytest
import torch
from tests.diffusion.networks import GROUPS, TINY, F, inputs, tiny
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.attention import dropout
from diffuprompt.diffusion.condition import PiNetwork, time_code
from diffuprompt.diffusion.token_codec import TokenCodec, TokenGroup
from diffuprompt.diffusion.transformer import TokenTransformer, TransformerConfig
from diffuprompt.errors import ConfigError, PromptShapeError

TEXT, VISION = "text", "vision"
COUNTS = [  # table 2.5: groups, then d=512 shared, d=512 per token, d=768 shared, d=768 per token
    ([(4, 512, TEXT)], 38_751_744, 40_324_608, 86_439_168, 88_798_464),
    ([(4, 768, VISION)], 39_013_888, 41_373_184, 86_832_384, 90_371_328),
    ([(4, 768, VISION)] * 12, 39_036_416, 75_998_720, 86_866_176, 142_309_632),
    ([(2, 512, TEXT)] * 9, 38_758_912, 47_671_808, 86_449_920, 99_819_264),
    ([(2, 768, VISION)] * 9, 39_021_056, 52_390_400, 86_843_136, 106_897_152),
    (
        [(2, 512, TEXT)] * 9 + [(2, 768, VISION)] * 9,
        39_554_560, 61_836_800, 87_643_392, 121_066_752,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", COUNTS)
def test_parameter_counts(row):
    groups = [TokenGroup(*g) for g in row[0]]
    got = []
    for width in (512, 768):
        for shared in (True, False):
            config = TransformerConfig(width=width, shared_io=shared)
            with torch.device("meta"):
                network = TokenTransformer(config, groups, 512, generator=generator())
            counted = {n: p.numel() for n, p in network.named_parameters()}
            # The table leaves the condition network out: 33,312 with biases (1.3, row 11).
            assert sum(v for n, v in counted.items() if n.startswith("pi.")) == 33_312
            got.append(sum(v for n, v in counted.items() if not n.startswith("pi.")))
    assert tuple(got) == row[1:]


def test_presets():
    paper, small = TransformerConfig.preset("paper"), TransformerConfig.preset("small")
    assert (paper.width, paper.layers, paper.heads, paper.dropout) == (512, 12, 16, 0.1)
    assert (small.width, small.layers, small.heads, small.dropout) == (256, 3, 8, 0.0)
    assert sum(p.numel() for p in PiNetwork(512, 768).parameters()) == 41_760


@pytest.mark.parametrize("shared", [True, False])
def test_untrained_output_is_exactly_zero(shared):
    config = TransformerConfig(width=32, layers=2, heads=4, dropout=0.0, shared_io=shared)
    out = tiny(config, trained=False)(*inputs())
    assert torch.equal(out, torch.zeros(4, F))


def test_initialisation_is_seeded_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    a, b, c = tiny(seed=1).state_dict(), tiny(seed=1).state_dict(), tiny(seed=2).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["blocks.0.qkv.weight"], c["blocks.0.qkv.weight"])


def test_initial_values():
    network = tiny(TransformerConfig(width=128, layers=1, heads=4), trained=False)
    named = dict(network.named_parameters())
    for name in ("blocks.0.qkv.weight", "blocks.0.mlp_out.weight", "time_encoder"):
        # At least 1.6e4 normals: standard error of the std below 0.6 %; five of them.
        assert float(named[name].detach().std()) == pytest.approx(0.02, rel=0.03), name
    for name in named:
        if name.endswith("bias") or name == "positions" or "decoders" in name:
            assert not named[name].any(), name
    assert bool((named["blocks.0.mlp_norm.weight"] == 1).all())


def test_several_time_tokens_each_read_the_whole_code():
    """Each token is a map of its own: swapped with their positions, nothing changes."""
    config = replace(TINY, time_tokens=3)
    network = tiny(config).double()
    width, (z, condition, u) = config.width, inputs()
    assert network.time_encoder.shape == (2 * config.num_frequencies + 1, 3 * width)
    given = (z.double(), condition.double(), u.double())
    before = network(*given)
    with torch.no_grad():
        network.time_encoder.copy_(network.time_encoder.roll(width, 1))
        moved = network(*given)
        network.positions[-3:] = network.positions[-3:].roll(1, 0)
        again = network(*given)
    assert not torch.allclose(moved, before)
    torch.testing.assert_close(again, before)  # float64: sums in another order
    with pytest.raises(ConfigError, match="time_tokens: expected at least 1"):
        replace(config, time_tokens=0)


def test_pi_is_visible_at_initialisation_and_blind_to_scale():
    network = PiNetwork(512)
    network.reset(generator())
    feature = torch.randn(64, 512, generator=generator(1))
    pi = network(feature)
    assert 0.2 < float(pi.detach().std()) < 2
    # The norm of the feature cancels; fp32 sums of 512 and 32 terms.
    torch.testing.assert_close(network(37 * feature), pi, rtol=1e-4, atol=1e-5)


def test_a_linear_pi_is_the_feature_at_size_one_or_a_linear_map_of_it():
    feature = torch.randn(8, 64, generator=generator(1))
    sized = feature / feature.square().mean(1, keepdim=True).sqrt()
    # fp32 norms of 64 terms
    torch.testing.assert_close(PiNetwork(64, kind="linear")(feature), sized, rtol=1e-5, atol=1e-6)
    wider = PiNetwork(64, 96, kind="linear")
    wider.reset(generator())
    (layer,) = wider.layers
    torch.testing.assert_close(wider(feature), sized @ layer.weight.T, rtol=1e-4, atol=1e-5)


def test_no_decay_names():
    network = tiny(replace(TINY, null=True), trained=False)
    names = network.no_decay()
    assert {
        "positions",
        "null",
        "input_norm.weight",
        "blocks.1.qkv.bias",
        "pi.layers.2.bias",
    } <= names
    decayed = {n for n, _ in network.named_parameters()} - names
    assert {"codec.encoders.0.weight", "blocks.0.qkv.weight", "time_encoder"} <= decayed
    assert all(dict(network.named_parameters())[n].ndim > 1 for n in decayed)


def test_batch_rows_are_independent():
    network, (z, condition, u) = tiny(), inputs()
    together = network(z, condition, u)
    assert float(together.detach().abs().mean()) > 0.1
    order = torch.tensor([2, 0, 3, 1])
    # fp32 matrix products of other sizes sum in another order: 1e-6 of values near 1, with room.
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(
        network(z[order], condition[order], u[order]), together[order], **close
    )
    for i in range(4):
        one = network(z[i : i + 1], condition[i : i + 1], u[i : i + 1])
        torch.testing.assert_close(one[0], together[i], **close)


def test_shared_condition_and_time_are_broadcast():
    network, (z, condition, u) = tiny(), inputs()
    repeated = network(z, condition[:1].expand(4, -1), u[:1].expand(4))
    torch.testing.assert_close(network(z, condition[:1], u[:1]), repeated, rtol=1e-5, atol=1e-5)


def test_attention_is_bidirectional_and_reads_condition_and_time():
    network, (z, condition, u) = tiny(), inputs(batch=1, dtype=torch.float64)
    network = network.double()
    jacobians = torch.autograd.functional.jacobian(lambda *a: network(*a).sum(0), (z, condition, u))
    first_token = jacobians[0][:6, 0]
    assert bool((first_token.abs().amax(0) > 0).all())  # the first token sees the last
    assert float(jacobians[1].abs().max()) > 0
    assert float(jacobians[2].abs().max()) > 0


def test_every_parameter_learns():
    network, (z, condition, u) = tiny(), inputs()
    network(z, condition, u).square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_positions_tell_tokens_apart():
    groups = (TokenGroup(2, 19),)
    z, condition, u = inputs(batch=1)
    swapped = torch.cat([z[:, 19:], z[:, :19]], dim=1)
    plain = tiny(groups=groups, trained=False)
    for codec in plain.codec.decoders:
        torch.nn.init.normal_(codec.weight, generator=generator())
    out, back = plain(z, condition, u), plain(swapped, condition, u)
    torch.testing.assert_close(
        torch.cat([back[:, 19:], back[:, :19]], dim=1), out, rtol=1e-4, atol=1e-5
    )  # zero positions: equivariant
    moved = tiny(groups=groups)
    out, back = moved(z, condition, u), moved(swapped, condition, u)
    assert float((torch.cat([back[:, 19:], back[:, :19]], 1) - out).detach().abs().max()) > 1e-2


@pytest.mark.parametrize("shared", [True, False])
def test_codec_layout_is_the_flat_vector(shared):
    """With identity-like weights decode(encode(z)) returns z in place: tokens are consecutive."""
    codec = TokenCodec(GROUPS, 10, shared=shared)
    assert (codec.tokens, codec.size) == (5, F)
    with torch.no_grad():
        for encoder, decoder in zip(codec.encoders, codec.decoders, strict=True):
            encoder.weight.copy_(torch.eye(*encoder.weight.shape[1:]))
            decoder.weight.copy_(torch.eye(*decoder.weight.shape[1:]))
    z = inputs()[0]
    tokens = codec.encode(z)
    assert torch.equal(tokens[:, 2, :6], z[:, 12:18])
    assert torch.equal(codec.decode(tokens), z)


def test_codecs_are_shared_by_modality():
    groups = [TokenGroup(1, 8, "a"), TokenGroup(1, 8, "b"), TokenGroup(3, 8, "a")]
    assert len(TokenCodec(groups, 4, shared=True).encoders) == 2
    assert [e.weight.shape[0] for e in TokenCodec(groups, 4, shared=False).encoders] == [1, 1, 3]


def test_time_code_is_smooth_between_steps():
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    code = time_code(u, 128, 6.0)
    assert code.shape == (101, 257)
    assert torch.equal(code[:, -1], u)
    # The fastest frequency turns by 0.64 rad per step of T = 100, so no entry moves by more.
    assert 0.6 < float(code.diff(dim=0).abs().max()) <= 0.64
    assert float(code[:, 0].sub(u.sin()).abs().max()) == 0


def test_dropout_needs_a_generator_and_repeats_with_it():
    config = TransformerConfig(width=32, layers=2, heads=4, dropout=0.3)
    network, batch = tiny(config), inputs()
    still = network(*batch)
    network.train()
    with pytest.raises(ConfigError, match="generator"):
        network(*batch)
    before = torch.random.get_rng_state()
    a, b = (network(*batch, generator=generator(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(a, network(*batch, generator=generator(4)))
    assert torch.equal(network.eval()(*batch), still)


def test_dropout_keeps_the_mean():
    kept = dropout(torch.ones(100_000), 0.3, generator())
    assert set(kept.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.7)}
    # Standard error of the mean: sqrt(0.3 / 0.7 / 1e5) = 2.1e-3; four of them.
    assert float(kept.mean()) == pytest.approx(1, abs=8.4e-3)


def test_wrong_shapes_and_sizes_are_refused():
    network, (z, condition, u) = tiny(), inputs()
    with pytest.raises(PromptShapeError, match=rf"\(B, {F}\), got \(4, 37\)"):
        network(z[:, 1:], condition, u)
    with pytest.raises(PromptShapeError, match=r"condition: expected \(4\|1, 48\), got \(3, 48\)"):
        network(z, condition[:3], u)
    with pytest.raises(PromptShapeError, match=r"u: expected \(4\|1,\)"):
        network(z, condition, u[:2])
    with pytest.raises(ConfigError, match="multiple of heads"):
        TransformerConfig(width=30, heads=4)
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        TransformerConfig.preset("smal")
    with pytest.raises(ConfigError, match="non-empty"):
        TokenCodec([TokenGroup(0, 4)], 8, shared=True)
