"""Conditions of the latent generator: by hand, cut into rows, joined, kept in half precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.grounding.mask_parts import GRID, context, drawn, pooled_of, tokens_of

from diffuprompt.errors import DataError
from diffuprompt.grounding.masks.condition import (
    folded,
    joined,
    pooled_condition,
    resized,
    tokens_condition,
)


def test_words_and_roots_are_those_of_the_caption() -> None:
    condition = tokens_condition(context(), [(0, 7), (9, 10)], GRID)
    assert condition.roots.tolist() == [
        [True, True, False, False, False],
        [False, False, True, False, False],
    ]
    assert condition.mask.tolist()[1] == [True] * 4 + [False]
    assert not condition.words[1, 4].any()
    assert condition.widths() == {"maps": 9 + 2 * (16 + 4 + 4), "levels": 3, "words": 6}
    assert len(condition) == 2


def test_summaries_are_maximum_and_mean_over_the_words_that_count() -> None:
    """Of the middle level, which has the latent's grid, every cell by hand."""
    known = context()
    condition = tokens_condition(known, [(0, 7), (9, 10)], GRID)
    start = 9 + 2 * 16  # the levels, then root and all of the finest
    for row, words in enumerate(([0, 1], [2])):
        for place, chosen in ((start, words), (start + 4, [0, 1, 2, 3] + [4] * (row == 0))):
            logits = known.alignment[1][row].clamp(-10, 10)[:, :, chosen]
            got = condition.maps[row, place : place + 4]
            torch.testing.assert_close(got[0], logits.amax(-1) / 4)
            torch.testing.assert_close(got[1], logits.mean(-1) / 4)
            torch.testing.assert_close(got[2], logits.sigmoid().amax(-1))
            torch.testing.assert_close(got[3], logits.sigmoid().mean(-1))
    wanted = known.alignment[1][0].sigmoid().permute(2, 0, 1)
    torch.testing.assert_close(condition.alignment[0, 1], wanted, atol=1e-4, rtol=1e-4)
    assert not condition.alignment[1, :, 4].any()  # padding


def test_levels_are_averaged_interpolated_and_folded() -> None:
    fine = torch.arange(64, dtype=torch.float32).reshape(1, 1, 8, 8)
    blocks = torch.nn.functional.avg_pool2d(fine, 2)
    torch.testing.assert_close(resized(fine, (4, 4)), blocks)
    assert torch.equal(resized(fine, (8, 8)), fine)
    assert resized(fine, (16, 16)).shape == (1, 1, 16, 16)
    assert sorted(folded(fine, (4, 4))[0, :, 1, 2].tolist()) == [20, 21, 28, 29]
    assert folded(fine, (3, 3)).shape == (1, 1, 3, 3)  # not by a whole factor
    assert folded(fine, (16, 16)).shape == (1, 1, 16, 16)


def test_it_has_no_gradients_and_does_not_mix_rows() -> None:
    both = tokens_of()
    known = context()
    one = replace(
        known,
        levels=tuple(x[1:] for x in known.levels),
        alignment=tuple(x[1:] for x in known.alignment),
        language=known.language[1:],
        tokens=replace(
            known.tokens,
            ids=known.tokens.ids[1:],
            mask=known.tokens.mask[1:],
            offsets=known.tokens.offsets[1:],
        ),
    )
    alone = tokens_condition(one, [(0, 7)], GRID)
    for name, value in both.rows(torch.tensor([1])).tensors().items():
        torch.testing.assert_close(value, alone.tensors()[name])
        assert not value.requires_grad


def test_parts_are_joined_with_padding() -> None:
    parts = [tokens_of(words=5), tokens_of(words=3, seed=1)]
    whole = joined(parts)
    assert len(whole) == 4
    assert whole.words.shape[1] == whole.alignment.shape[2] == whole.roots.shape[1] == 5
    assert whole.mask[2].tolist() == [True] * 3 + [False] * 2
    torch.testing.assert_close(whole.maps[2:], parts[1].maps)
    torch.testing.assert_close(whole.alignment[2:, :, :3], parts[1].alignment)
    with pytest.raises(DataError, match="nothing to join"):
        joined([])


def test_half_precision_keeps_masks_and_stays_finite() -> None:
    known = context()
    known = replace(known, alignment=tuple(x * 1e5 for x in known.alignment))
    half = tokens_condition(known, [(0, 7)] * 2, GRID).to(torch.float16)
    assert half.maps.dtype == half.words.dtype == torch.float16
    assert half.mask.dtype == half.roots.dtype == torch.bool
    assert all(bool(value.isfinite().all()) for value in half.tensors().values())
    assert type(half)(**half.tensors()).widths() == half.widths()


def test_pooled_features_are_kept_as_they_are() -> None:
    condition = pooled_of(3, 7)
    assert condition.widths() == {"pooled": 7}
    assert condition.rows(torch.tensor([2, 0])).text.shape == (2, 7)
    with pytest.raises(DataError, match="same"):
        pooled_condition(drawn(2, 7), drawn(2, 8))


def test_roots_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one per caption"):
        tokens_condition(context(), [(0, 7)], GRID)
    with pytest.raises(DataError, match="no word"):
        tokens_condition(context(), [(0, 7), (100, 107)], GRID)
