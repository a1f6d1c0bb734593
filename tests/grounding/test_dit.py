"""The diffusion transformer: sizes of the release, positions, patches, what it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.grounding.mask_parts import drawn, stream
from torch import nn

from diffuprompt.errors import ConfigError, PromptShapeError
from diffuprompt.grounding.masks.attending import SelfAttention
from diffuprompt.grounding.masks.dit import TIME_WIDTH, Dit, DitConfig
from diffuprompt.grounding.masks.initial import built
from diffuprompt.grounding.masks.places import grid_code, turned, turns

SMALL = DitConfig(width=16, depth=2, heads=2)


def test_the_released_network_has_its_parameters() -> None:
    with torch.device("meta"):
        network = Dit(DitConfig(learn_sigma=True))
    assert sum(p.numel() for p in network.blocks[0].parameters()) == 6_299_136
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(77.06e6, rel=1e-4)


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("maps", [0, 3])
def test_untrained_it_predicts_zero(positions: str, maps: int) -> None:
    config = DitConfig(width=16, depth=2, heads=2, maps=maps, positions=positions)
    network = built(lambda: Dit(config), stream())
    given = drawn(2, maps, 4, 6) if maps else None
    out = network(drawn(2, 4, 4, 6), torch.tensor([3.0]), drawn(2, 2, 16), given)
    assert out.shape == (2, 4, 4, 6)
    assert torch.equal(out, torch.zeros_like(out))
    assert float(network.time_in.weight.std()) == pytest.approx(0.02, rel=0.1)
    fan = network.patches.weight[0].numel() + network.patches.weight.shape[0]
    assert float(network.patches.weight.abs().max()) <= (6 / fan) ** 0.5


def test_positions_are_those_of_the_dit() -> None:
    """Written as in MAE's recipe: the first half is of the column, sines before cosines."""
    width, rows, columns = 8, 2, 3
    omega = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    wanted = []
    for row in range(rows):
        for column in range(columns):
            parts = [np.sin(column * omega), np.cos(column * omega)]
            parts += [np.sin(row * omega), np.cos(row * omega)]
            wanted.append(np.concatenate(parts))
    got = grid_code(rows, columns, width, torch.device("cpu"))
    np.testing.assert_allclose(got.numpy(), np.stack(wanted), atol=1e-6)


def test_attention_with_turns_sees_differences_of_places_only() -> None:
    """Scores of two cells are the same wherever the pair stands, and differ with its distance."""
    q, k = drawn(1, 8, seed=1).expand(36, 8), drawn(1, 8, seed=2).expand(36, 8)
    angle = turns(6, 6, 8, torch.device("cpu"))
    scores = (turned(q, angle) @ turned(k, angle).T).reshape(6, 6, 6, 6)
    torch.testing.assert_close(scores[0, 0, 1, 2], scores[3, 2, 4, 4])
    torch.testing.assert_close(scores[5, 5, 2, 3], scores[4, 2, 1, 0])
    assert not torch.allclose(scores[0, 0, 1, 2], scores[0, 0, 2, 1])
    assert not torch.allclose(scores[0, 0, 0, 1], scores[0, 1, 0, 0])


def test_attention_is_torchs() -> None:
    ours = built(lambda: SelfAttention(16, 4), stream())
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    state = {
        "in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
        "out_proj.weight": ours.out.weight, "out_proj.bias": ours.out.bias,
    }  # fmt: skip
    theirs.load_state_dict(state)
    x, mask = drawn(2, 5, 16), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    wanted = theirs(x, x, x, key_padding_mask=~mask, need_weights=False)[0]
    torch.testing.assert_close(ours(x, mask_BN=mask), wanted)


def test_patches_are_put_back_where_they_were() -> None:
    """With weights that copy each patch into its token and back, the network is the identity."""
    network = Dit(DitConfig(channels=1, patch=2, width=4, depth=1, heads=1, vectors=1))
    out = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 6, 4)
    image = network._unpatched(out, 2, 3)
    copied = nn.functional.unfold(image, 2, stride=2).transpose(1, 2)
    torch.testing.assert_close(copied, out)


def test_time_is_coded_as_in_the_dit() -> None:
    network = built(lambda: Dit(SMALL), stream())
    seen = []
    network.time_in.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(drawn(1, 4, 2, 2), torch.tensor([7.0]), drawn(1, 2, 16))
    half = TIME_WIDTH // 2
    angle = 7 * torch.exp(-np.log(10000) * torch.arange(half) / half)
    torch.testing.assert_close(seen[0][0], torch.cat([angle.cos(), angle.sin()]), rtol=0, atol=1e-5)


def test_rows_do_not_see_each_other() -> None:
    network = built(lambda: Dit(SMALL), stream())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=stream(1)))
    x, t, given = drawn(2, 4, 4, 4), torch.tensor([3.0, 50.0]), drawn(2, 2, 16)
    both = network(x, t, given)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], given[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both, network(x, t, given.flip(0)))
    assert not torch.allclose(both, network(x, t + 1, given))


def test_shapes_that_do_not_fit_are_refused() -> None:
    network = built(lambda: Dit(SMALL), stream())
    t = torch.zeros(1)
    with pytest.raises(PromptShapeError, match="whole patches"):
        network(drawn(1, 4, 4, 5), t, drawn(1, 2, 16))
    with pytest.raises(PromptShapeError, match="condition"):
        network(drawn(1, 4, 4, 4), t, drawn(1, 1, 16))
    with pytest.raises(PromptShapeError, match="condition map"):
        network(drawn(1, 4, 4, 4), t, drawn(1, 2, 16), drawn(1, 3, 4, 4))
    with pytest.raises(ConfigError, match="heads"):
        DitConfig(width=16, heads=3)
