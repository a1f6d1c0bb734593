"""The towers against transformers with the same random weights; prompts against concatenation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diffuprompt.grounding.contract import VisualPrompt
from diffuprompt.grounding.detectors.bert import Bert, BertConfig
from diffuprompt.grounding.detectors.deform import deform_conv
from diffuprompt.grounding.detectors.prefix import attend_with_prefix
from diffuprompt.grounding.detectors.swin import Swin, SwinConfig

SWIN = SwinConfig(width=12, depths=(2, 2), heads=(2, 3), window=4, outputs=(0, 1))


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval().double()


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [(32, 32), (40, 56), (37, 30)])
def test_swin_is_transformers(size: tuple[int, int]) -> None:
    from transformers import SwinBackbone, SwinConfig as Theirs

    theirs = SwinBackbone(
        Theirs(
            embed_dim=12, depths=[2, 2], num_heads=[2, 3], window_size=4, patch_size=4,
            image_size=size, drop_path_rate=0.0, out_features=["stage1", "stage2"],
            attn_implementation="sdpa",
        )
    )  # fmt: skip
    randomised(theirs)
    ours = Swin(SWIN).double().eval()
    state = _of_transformers(theirs.state_dict())
    ours.load_state_dict({**ours.state_dict(), **state})
    pixels = drawn(2, 3, *size)
    with torch.no_grad():
        wanted = theirs(pixels).feature_maps
        got = ours(pixels)
    for ours_map, theirs_map in zip(got, wanted, strict=True):
        assert torch.allclose(ours_map, theirs_map, atol=1e-10)


def _of_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    state = {k: v for k, v in state.items() if "layernorm." not in k}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name = key.replace("encoder.layers", "layers").replace("swin.", "")
        name = name.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
        name = name.replace("embeddings.norm", "patch_embed.norm")
        name = name.replace("hidden_states_norms.stage1", "norm0")
        name = name.replace("hidden_states_norms.stage2", "norm1")
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
        name = name.replace("attention.mlp.fc2", "attn.proj").replace(
            "attention.o_proj", "attn.proj"
        )
        name = name.replace("attention.self.", "attn.").replace("attention.", "attn.")
        name = name.replace("relative_position_bias.", "")
        for theirs, ours in (("query", "q"), ("key", "k"), ("value", "v")):
            name = name.replace(f"attn.{theirs}.", f"attn.{ours}_proj.")
        for letter in "qkv":
            if f"attn.{letter}_proj." in name:
                whole = name.replace(f"{letter}_proj.", "qkv.")
                parts.setdefault(whole, {})[letter] = value
                break
        else:
            found[name] = value
    return found | {k: torch.cat([p[c] for c in "qkv"]) for k, p in parts.items()}


def test_bert_is_transformers() -> None:
    from transformers import BertConfig as Theirs, BertModel

    config = BertConfig(vocab_size=50, width=24, layers=3, heads=4, hidden=40, max_length=16)
    theirs = BertModel(
        Theirs(
            vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=40, max_position_embeddings=16, attn_implementation="eager",
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    randomised(theirs)
    ours = Bert(config).double().eval()
    state = theirs.state_dict()
    ours.load_state_dict({k: v for k, v in state.items() if k != "embeddings.position_ids"})
    ids = torch.arange(20).reshape(2, 10) % 50
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 6:] = False
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        got = ours(ids, mask)
    assert torch.allclose(got[mask], wanted[mask], atol=1e-10)


def test_prefix_is_concatenate_and_drop() -> None:
    q, k, v = (drawn(2, 3, 5, 4, seed=s) for s in range(3))
    pk, pv = (drawn(2, 3, 2, 4, seed=s) for s in (3, 4))
    bias = drawn(1, 3, 5, 5, seed=5)
    got = attend_with_prefix(q, k, v, (pk, pv), bias)
    queries, keys, values = (torch.cat(pair, 2) for pair in ((pk, q), (pk, k), (pv, v)))
    whole = torch.zeros(1, 3, 7, 7, dtype=torch.float64)
    whole[..., 2:, 2:] = bias
    scores = queries @ keys.transpose(-1, -2) / 2 + whole
    assert torch.allclose(got, (scores.softmax(-1) @ values)[:, :, 2:], atol=1e-12)


def prompts(batch: int, seed: int = 7) -> list[VisualPrompt]:
    sizes = [(8, 8, 12), (8, 8, 12), (4, 4, 24), (4, 4, 24)]
    return [
        VisualPrompt(
            tokens=drawn(batch, 2, width, seed=seed + i),
            grid=drawn(batch, rows, columns, width, seed=seed + 50 + i),
        )
        for i, (rows, columns, width) in enumerate(sizes)
    ]


def test_a_batch_of_two_is_two_batches_of_one() -> None:
    swin = randomised(Swin(SWIN))
    pixels, given = drawn(2, 3, 32, 32), prompts(2)
    with torch.no_grad():
        together = swin(pixels, given)
        for i in range(2):
            own = [VisualPrompt(tokens=p.tokens[i : i + 1], grid=p.grid[i : i + 1]) for p in given]
            for whole, part in zip(together, swin(pixels[i : i + 1], own), strict=True):
                assert torch.allclose(whole[i : i + 1], part, atol=1e-12)
        other = swin(pixels, prompts(2, seed=900))
    assert not torch.allclose(together[0], other[0])


def test_prompts_of_no_length_are_no_prompts_bit_for_bit() -> None:
    swin = randomised(Swin(SWIN))
    pixels = drawn(2, 3, 32, 32)
    none = [VisualPrompt(tokens=drawn(2, 0, width)) for width in SWIN.widths]
    with torch.no_grad():
        for plain, empty in zip(swin(pixels), swin(pixels, none), strict=True):
            assert torch.equal(plain, empty)


def test_a_grid_prompt_equal_to_the_tokens_changes_nothing() -> None:
    """Each token seen twice with equal scores: the softmax's mean is the same."""
    swin = randomised(Swin(SWIN))
    block = swin.layers[0].blocks[1]  # shifted
    x = drawn(2, 8, 8, 12)
    with torch.no_grad():
        plain = block(x)
        doubled = block(x, VisualPrompt(grid=block.norm1(x)))
    assert torch.allclose(plain, doubled, atol=1e-12)


@pytest.mark.parametrize(("stride", "larger"), [(1, False), (2, False), (1, True)])
def test_deformable_convolution_is_that_of_a_loop(stride: int, larger: bool) -> None:
    x, weight, bias = drawn(2, 3, 5, 6), drawn(4, 3, 3, 3, seed=2), drawn(4, seed=3)
    rows, columns = (5 + 2 - 3) // stride + 1, (6 + 2 - 3) // stride + 1
    given = (2 * rows, 2 * columns) if larger else (rows, columns)
    offsets, mask = drawn(2, 18, *given, seed=4), drawn(2, 9, *given, seed=5).sigmoid()
    got = deform_conv(x, weight, bias, offsets, mask, stride=stride)
    flat_offsets, flat_mask = offsets.flatten(1), mask.flatten(1)
    wanted = torch.zeros(2, 4, rows, columns, dtype=torch.float64)
    for b in range(2):
        for r in range(rows):
            for c in range(columns):
                total = bias.clone()
                for cell in range(9):
                    at = (2 * cell * rows + r) * columns + c
                    dy, dx = flat_offsets[b, at], flat_offsets[b, at + rows * columns]
                    y = r * stride - 1 + cell // 3 + dy.item()
                    z = c * stride - 1 + cell % 3 + dx.item()
                    factor = flat_mask[b, (cell * rows + r) * columns + c]
                    total += weight[:, :, cell // 3, cell % 3] @ _between(x[b], y, z) * factor
                wanted[b, :, r, c] = total
    assert torch.allclose(got, wanted, atol=1e-10)


def _between(x: Tensor, y: float, z: float) -> Tensor:
    found = torch.zeros(len(x), dtype=x.dtype)
    for row in (int(y // 1), int(y // 1) + 1):
        for column in (int(z // 1), int(z // 1) + 1):
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                found += x[:, row, column] * (1 - abs(y - row)) * (1 - abs(z - column))
    return found
