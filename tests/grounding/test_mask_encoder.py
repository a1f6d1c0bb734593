"""The encoder of the "tokens" condition: what it may see, its losses, that it learns two hops."""

from __future__ import annotations

import pytest
import torch
from tests.grounding.mask_parts import SMALL, drawn, pooled_of, stream, tokens_of

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.masks.condition import TokensCondition
from diffuprompt.grounding.masks.encoder import EncoderConfig, MaskEncoder, full_map, map_losses
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.initial import built

CONFIG = EncoderConfig(**SMALL)


def encoder_of(condition: TokensCondition) -> MaskEncoder:
    made = built(lambda: MaskEncoder(CONFIG, condition.widths()), stream())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream(3)))
    return made


def test_shapes() -> None:
    condition = tokens_of()
    reading = encoder_of(condition)(condition)
    assert reading.cells.shape == (2, 16, 4, 4)
    assert reading.summary.shape == (2, 2, 16)
    assert reading.logits.shape == (2, 1, 16, 16)
    assert full_map(reading.logits).shape == (2, 1, 32, 32)


def test_rows_and_padding_change_nothing() -> None:
    condition = tokens_of()
    encoder = encoder_of(condition)
    both = encoder(condition)
    for row in range(2):
        alone = condition.rows(torch.tensor([row]))
        torch.testing.assert_close(
            encoder(alone).logits, both.logits[row : row + 1], rtol=1e-4, atol=1e-5
        )
    alone = condition.rows(torch.tensor([1]))
    short = TokensCondition(
        maps=alone.maps,
        alignment=alone.alignment[:, :, :4],
        words=alone.words[:, :4],
        mask=alone.mask[:, :4],
        roots=alone.roots[:, :4],
    )
    torch.testing.assert_close(encoder(short).logits, both.logits[1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(short).summary, both.summary[1:], rtol=1e-4, atol=1e-5)


def test_everything_that_is_told_matters() -> None:
    condition = tokens_of()
    encoder = encoder_of(condition)
    before = encoder(condition).logits
    for name, value in condition.tensors().items():
        if name == "mask":
            continue
        changed = ~value if value.dtype == torch.bool else value.flip(-1) + 0.3
        other = TokensCondition(**{**condition.tensors(), name: changed})
        assert not torch.allclose(encoder(other).logits, before), name


def test_only_shares_of_the_picture_tell_where_a_cell_is() -> None:
    """Places in attention are relative: without the shares, cells that are alike say the same."""
    condition = tokens_of()
    alike = {"maps": condition.maps[..., :1, :1], "alignment": condition.alignment[..., :1, :1]}
    same = {name: value.expand(*value.shape[:-2], 4, 4) for name, value in alike.items()}
    encoder, told = encoder_of(condition), TokensCondition(**{**condition.tensors(), **same})
    known = encoder(told).cells
    assert not torch.allclose(known, known[..., :1, :1].expand_as(known), atol=1e-2)
    with torch.no_grad():
        encoder.maps_in.weight[:, -2:] = 0
    cells = encoder(told).cells
    torch.testing.assert_close(cells, cells[..., :1, :1].expand_as(cells), rtol=1e-4, atol=1e-4)


def test_losses_are_by_definition() -> None:
    logits, masks = drawn(2, 1, 4, 4), (drawn(2, 1, 8, 8, seed=1) > 0).float()
    losses = map_losses(logits, masks)
    truth = torch.nn.functional.avg_pool2d(masks, 2)
    p = logits.sigmoid()
    bce = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    torch.testing.assert_close(losses["bce"], bce)
    dice = [
        1 - (2 * float((p[i] * truth[i]).sum()) + 1) / (float(p[i].sum() + truth[i].sum()) + 1)
        for i in range(2)
    ]
    assert float(losses["dice"]) == pytest.approx(sum(dice) / 2, abs=1e-6)


def test_a_new_one_expects_little() -> None:
    condition = tokens_of()
    encoder = built(lambda: MaskEncoder(CONFIG, condition.widths()), stream())
    assert 0.01 < float(encoder(condition).logits.detach().sigmoid().mean()) < 0.1


def test_it_learns_two_hops() -> None:
    """Two lamps and one cup: which lamp is meant is said by the side of the cup it stands on."""
    condition, masks = _world(64)
    model = IndependentMasks(
        EncoderConfig(width=32, depth=3, heads=2), condition.widths(), generator=stream()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        losses = model.losses(condition, None, masks, stream())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    given, truth = _world(40, seed=1)
    found = torch.nn.functional.avg_pool2d(model.map(given), 8).flatten(1).argmax(1)
    wanted = torch.nn.functional.avg_pool2d(truth, 8).flatten(1).argmax(1)
    assert float((found == wanted).float().mean()) > 0.9  # a guess between the lamps gives 0.5


def _world(count: int, seed: int = 0) -> tuple[TokensCondition, torch.Tensor]:
    """Rows of four cells: lamp, cup, lamp in a row; captions "lamp left|right of cup"."""
    draw = stream(seed)
    row = torch.randint(4, (count,), generator=draw)
    first = torch.randint(2, (count,), generator=draw)
    left = torch.randint(2, (count,), generator=draw)
    each = torch.arange(count)
    alignment = torch.zeros(count, 1, 3, 4, 4)
    for place, word in ((0, 0), (1, 2), (2, 0)):
        alignment[each, 0, word, row, first + place] = 1
    words = torch.zeros(count, 3, 4)
    words[:, 0, 0] = words[:, 2, 1] = 1
    words[each, 1, 2 + left] = 1
    masks = torch.zeros(count, 1, 32, 32)
    for i in range(count):
        column = int(first[i] + (0 if left[i] else 2))
        masks[i, 0, 8 * row[i] : 8 * row[i] + 8, 8 * column : 8 * column + 8] = 1
    condition = TokensCondition(
        maps=alignment[:, 0],
        alignment=alignment,
        words=words,
        mask=torch.ones(count, 3, dtype=torch.bool),
        roots=torch.tensor([[True, False, False]]).expand(count, -1),
    )
    return condition, masks


def test_pooled_features_have_no_cells() -> None:
    condition = tokens_of()
    model = IndependentMasks(CONFIG, condition.widths(), generator=stream())
    with pytest.raises(ConfigError, match="tokens"):
        model.map(pooled_of())
    with pytest.raises(ConfigError, match="multiple of 4"):
        EncoderConfig(width=12, heads=2)
