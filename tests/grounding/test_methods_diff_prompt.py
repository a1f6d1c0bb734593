"""Diff-Prompt's prompts: sizes of the reference, orders, forms, and the release's mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.grounding.toy_detector import drawn, redrawn
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.contract import Adaptation, Inputs, Sites, Tokens, VisualPrompt
from diffuprompt.grounding.detectors.swin import SwinBlock, WindowAttention
from diffuprompt.grounding.methods.adapters import by_layer, trajectory
from diffuprompt.grounding.methods.diff_prompt import DiffPrompt, DiffPromptConfig

GLIP_T = Sites(
    visual=(96, 96, 192, 192, *(384,) * 6, 768, 768),
    textual=(768,) * 12,
    levels=(256,) * 5,
    language=768,
)
TINY = Sites(visual=(48, 48, 96, 96, 192, 192), textual=(128,) * 4, levels=(64,) * 3, language=128)
RELEASED: dict[str, Any] = {
    "form": "pixel",
    "order": "clean_first",
    "projection": "reshape",
    "side": 224,
}


def grids_of(sites: Sites, side: int) -> list[tuple[int, int]]:
    return [(side // 4 * sites.visual[0] // width,) * 2 for width in sites.visual]


def made(sites: Sites, **settings: Any) -> DiffPrompt:
    grids = grids_of(sites, 64)
    init = torch.Generator().manual_seed(0)
    return DiffPrompt(sites, DiffPromptConfig(**settings), init, grids=lambda h, w: grids)


def prompts(method: DiffPrompt, maps: Tensor | None, batch: int = 1) -> Adaptation:
    words = torch.zeros(batch, 3, dtype=torch.long)
    tokens = Tokens(ids=words, mask=words == 0, offsets=(((0, 1),) * 3,) * batch)
    pixels = torch.zeros(batch, 3, 64, 64)
    return method(Inputs(pixels=pixels, tokens=tokens, roots=((0, 1),) * batch, maps=maps))


def size(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


def test_the_released_size_is_the_reference() -> None:
    method = made(GLIP_T, **RELEASED, depth=9, length=8)
    assert size(method.visual) == 98_240 + 2_408_832
    assert size(method.visual_globals) == 3_456
    assert size(method.textual) == 98_240 + 19_270_656
    assert size(method.textual_globals) == 27_648
    assert size(method) == 21_907_072


def test_released_sizes_by_length() -> None:
    """Sizes are a line in L, so that two of them tell the larger ones."""
    assert round(size(made(GLIP_T, **RELEASED, depth=4, length=2)) / 1e6, 1) == 5.6
    four, eight = size(made(GLIP_T, **RELEASED, depth=9, length=4)), 21_907_072
    sizes = [four + (eight - four) * (length - 4) / 4 for length in (4, 12, 16)]
    assert [round(number / 1e6, 1) for number in sizes] == [11.1, 32.8, 43.6]


# Reference 3.4: the first block of Swin-T that the re-view of L prompts does not fit.
@pytest.mark.parametrize(("length", "block"), [(2, 4), (4, 10), (8, 12), (12, 10), (16, 12)])
def test_the_re_view_refuses_what_would_crash(length: int, block: int) -> None:
    small = {**RELEASED, "side": 32, "text_specific": False}
    method = made(GLIP_T, **small, depth=block, length=length)
    visual = prompts(method, torch.rand(1, 3, 32, 32)).visual
    for one, width in zip(visual, GLIP_T.visual, strict=False):
        assert one is not None
        assert one.tokens is not None
        assert one.tokens.shape == (1, length * 96 // width, width)
    if block < 12:
        with pytest.raises(ConfigError, match=f"block {block} cannot view {length} prompts"):
            made(GLIP_T, **small, depth=block + 1, length=length)


@pytest.mark.parametrize("depth", [1, 3, 6, 9, 12])
@pytest.mark.parametrize("length", [2, 16])
@pytest.mark.parametrize("form", ["grid", "pixel", "latent"])
def test_the_papers_depths_and_lengths_fit_glip(form: Any, depth: int, length: int) -> None:
    order: Any = "all" if form == "grid" else "clean_first"
    method = made(
        GLIP_T, form=form, order=order, depth=depth, length=length, side=32, maps=2,
        text_specific=form == "grid",
    )  # fmt: skip
    maps = torch.rand(1, 2, 4, 8, 8) if form == "latent" else torch.rand(1, 2, 32, 32)
    check(prompts(method, maps), GLIP_T, depth, length, form, text=form == "grid")


@pytest.mark.parametrize("depth", [1, 2, 4, 6])
@pytest.mark.parametrize("length", [2, 4, 8])
@pytest.mark.parametrize("form", ["grid", "pixel", "latent"])
def test_depths_and_lengths_fit_the_tiny_detector(form: Any, depth: int, length: int) -> None:
    method = made(TINY, form=form, order="noisy_first", depth=depth, length=length, side=32)
    maps = torch.rand(1, 3, 4, 8, 8) if form == "latent" else torch.rand(1, 3, 32, 32)
    check(prompts(method, maps), TINY, depth, length, form, text=True)


def check(
    found: Adaptation, sites: Sites, depth: int, length: int, form: str, *, text: bool
) -> None:
    grids = grids_of(sites, 64)
    assert len(found.visual) == min(depth, len(sites.visual))
    assert len(found.textual) == min(depth, len(sites.textual))
    for one, width, grid in zip(found.visual, sites.visual, grids, strict=False):
        assert one is not None
        assert one.tokens is not None
        assert one.tokens.shape == (1, length // 2 if form == "grid" else length, width)
        assert (one.grid is not None) == (form == "grid")
        assert one.grid is None or one.grid.shape == (1, *grid, width)
    for own in found.textual:
        assert own is not None
        assert own.shape == (1, length if text else length // 2, sites.textual[0])


def test_the_default_is_small_and_switches_leave_parts_out() -> None:
    whole = made(TINY)
    assert size(whole.grid) == 27_760  # the prototype's 27.8 k
    assert size(whole.visual_globals) + size(whole.textual_globals) == 4_736  # and 4.7 k
    assert size(whole) == size(whole.grid) + size(whole.textual) + 4_736
    mask = torch.rand(1, 1, 64, 64)
    blind = prompts(made(TINY, visual_specific=False, visual_global=False), mask)
    assert all(v is not None and v.tokens is None and v.grid is None for v in blind.visual)
    silent = made(TINY, text_specific=False, text_global=False)
    assert prompts(silent, mask).textual == [None] * 4
    free = made(TINY, visual_specific=False, text_specific=False)
    assert (free.reads, size(free)) == ("nothing", 4_736)
    assert prompts(free, None).visual[0] is not None
    assert made(TINY, form="latent").reads == "latents"


def test_layers_read_the_maps_in_order() -> None:
    maps = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(2, -1, 1, 2, 2)

    def number(x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))

    def order(kind: Any, depth: int, given: Tensor = maps) -> list[float]:
        return [float(x[0]) for x in by_layer(number, given, depth, kind)]

    assert order("clean_first", 3) == [0, 1, 2]
    assert order("noisy_first", 3) == [2, 1, 0]
    assert order("clean_first", 5) == [0, 1, 2, 2, 2]
    assert order("noisy_first", 2) == [1, 0]
    assert order("noisy_first", 4, maps[:, :1]) == [0, 0, 0, 0]
    assert order("all", 2) == [1, 1]  # the mean of all of them


def test_grid_prompts_stay_where_the_mask_is() -> None:
    method = made(TINY, visual_global=False)
    redrawn(method)
    empty, marked = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    marked[..., 40:56, 0:16] = 1
    before, after = (prompts(method, maps).visual[0] for maps in (empty, marked))
    assert before is not None
    assert after is not None
    differ = (before.grid != after.grid).any(-1)[0]
    rows, columns = differ.nonzero().unbind(-1)
    # cells 10-13 and 0-3 of the mask, and one beyond through the 3 x 3 convolution
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 14, 0, 4)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="got none"):
        trajectory(None, latents=False, kept=None)
    with pytest.raises(DataError, match=r"expected latents .*got shape \(1, 2, 3, 4\)"):
        trajectory(torch.zeros(1, 2, 3, 4), latents=True, kept=None)
    with pytest.raises(DataError, match="set `maps` of the method"):
        prompts(made(TINY), torch.zeros(1, 5, 64, 64))


def test_the_mix_up_gives_windows_the_prompts_of_other_samples() -> None:
    block = SwinBlock(8, 2, 4, shift=0).double()
    redrawn(block)
    x, given = drawn(3, 8, 8, 8), drawn(3, 2, 8, seed=2)
    with torch.no_grad():
        mixed = block(x, VisualPrompt(tokens=given, mixed=True))
        for b in range(3):
            for w in range(4):  # windows row by row
                source = (b * 4 + w) % 3
                right = block(x[b : b + 1], VisualPrompt(tokens=given[source : source + 1]))
                area = (slice(4 * (w // 2), 4 * (w // 2) + 4), slice(4 * (w % 2), 4 * (w % 2) + 4))
                assert torch.allclose(mixed[b][area], right[0][area], atol=1e-12)


def test_misplaced_biases_are_zeros_before_and_prompts_behind() -> None:
    attention = WindowAttention(8, 2, 2).double()
    redrawn(attention)
    x, given = drawn(5, 4, 8), drawn(5, 3, 8, seed=2)
    with torch.no_grad():
        got = attention(x, None, given, misplaced=True)
        whole = torch.cat([x, given], 1)
        q, k, v = attention.qkv(whole).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        table = attention.relative_position_bias_table[attention.relative_position_index]
        bias = functional.pad(table.permute(2, 0, 1), (3, 0, 3, 0))
        mixed = (q @ k.transpose(-1, -2) / 2 + bias).softmax(-1) @ v
        wanted = attention.proj(mixed.transpose(1, 2).flatten(2)[:, :4])
        right = attention(x, None, given)
    assert torch.allclose(got, wanted, atol=1e-12)
    assert not torch.allclose(got, right, atol=1e-3)


def test_the_releases_mistakes_have_their_own_switches() -> None:
    for switches in ((False, False), (True, False), (False, True)):
        mixup, shift = switches
        method = made(TINY, batch_mixup=mixup, bias_shift=shift)
        found = prompts(method, torch.rand(2, 1, 64, 64), batch=2).visual
        assert all(one is not None and (one.mixed, one.misplaced) == switches for one in found)
