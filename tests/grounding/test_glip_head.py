"""GLIP's pyramid, dynamic head and alignment, written out once more as the paper's formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.deform import deform_conv
from diffuprompt.grounding.detectors.dyhead import DynamicBlock, Upsample
from diffuprompt.grounding.detectors.glip import GlipConfig, Head
from diffuprompt.grounding.detectors.neck import Pyramid

CONFIG = GlipConfig(
    bert=BertConfig(vocab_size=9, width=6, layers=1, heads=1, hidden=6),
    channels=16, depth=1, strides=(8, 16, 32), anchors=(64, 128, 256),
)  # fmt: skip


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomised(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=100 + i) * 0.3)
    return module.double().eval()


def levels() -> list[Tensor]:
    return [drawn(2, 16, *size, seed=i) for i, size in enumerate([(8, 12), (4, 6), (2, 3)])]


def hard(x: Tensor) -> Tensor:
    return ((x + 3) / 6).clamp(0, 1)


def repeated(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return every cell twice in each direction: "nearest" of a map that is twice as fine."""
    assert (rows, columns) == (2 * x.shape[2], 2 * x.shape[3])
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_the_dynamic_block_is_its_formula(upsample: Upsample) -> None:
    block = randomised(DynamicBlock(16, upsample))
    finer = corners_aligned if upsample == "bilinear" else repeated
    given = levels()
    with torch.no_grad():
        got = block(given)
        for i, x in enumerate(given):
            raw = functional.conv2d(x, block.offset.weight, block.offset.bias, padding=1)
            offsets, mask = raw[:, :18], raw[:, 18:27].sigmoid()

            def seen(k: int, source: Tensor, offsets=offsets, mask=mask) -> Tensor:
                own = block.DyConv[k]
                y = deform_conv(
                    source, own.conv.weight, own.conv.bias, offsets, mask, stride=2 if k == 2 else 1
                )
                grouped = y.reshape(2, 16, -1)  # 16 groups of one channel
                mean = grouped.mean(-1, keepdim=True)
                spread = grouped.var(-1, unbiased=False, keepdim=True)
                unit = ((grouped - mean) / (spread + 1e-5).sqrt()).reshape(y.shape)
                return unit * own.bn.weight[:, None, None] + own.bn.bias[:, None, None]

            branches = [seen(1, x)]
            if i > 0:
                branches.append(seen(2, given[i - 1]))
            if i < 2:
                branches.append(finer(seen(0, given[i + 1]), x.shape[2], x.shape[3]))
            total = torch.zeros_like(x)
            for branch in branches:
                scale = torch.einsum(
                    "bc,c->b", branch.mean((2, 3)), block.AttnConv[1].weight[0, :, 0, 0]
                )
                scale = hard((scale + block.AttnConv[1].bias).clamp(min=0))
                total += branch * scale[:, None, None, None] / len(branches)
            first, _, second = block.relu.fc
            inner = (total.mean((2, 3)) @ first.weight.T + first.bias).clamp(min=0)
            a1, b1, a2, b2 = hard(inner @ second.weight.T + second.bias)[..., None, None].split(
                16, 1
            )
            one, two = total * (2 * a1) + b1 - 0.5, total * (2 * a2 - 1) + b2 - 0.5
            assert torch.allclose(got[i], torch.where(one > two, one, two), atol=1e-10)


def corners_aligned(x: Tensor, rows: int, columns: int) -> Tensor:
    """Bilinear resizing whose corners are the map's corners, axis by axis."""

    def weights(old: int, new: int) -> Tensor:
        found = torch.zeros(new, old, dtype=torch.float64)
        for i in range(new):
            at = i * (old - 1) / (new - 1) if new > 1 else 0.0
            low = min(int(at), old - 1)
            found[i, low] += 1 - (at - low)
            if at > low:
                found[i, low + 1] += at - low
        return found

    return weights(x.shape[2], rows) @ x @ weights(x.shape[3], columns).T


def test_the_logits_are_their_formula() -> None:
    head = randomised(Head(CONFIG))
    words = drawn(2, 5, 6, seed=30)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    with torch.no_grad():
        raw = head(levels(), words, mask)
        x = head.dyhead_tower(levels())
        cells = torch.cat([level.flatten(2).mT for level in x], 1)
        for b in range(2):
            for t in range(5):
                e = words[b, t] / words[b, t].norm() if mask[b, t] else torch.zeros(6).double()
                project = head.dot_product_projection_text
                text = project.weight @ (e / 2) + project.bias
                wanted = (
                    cells[b] @ text / math.exp(head.log_scale) + e @ head.bias_lang + head.bias0
                )
                assert torch.allclose(raw.words[b, :, t], wanted, atol=1e-10)
        start = 0
        for level, scale in zip(x, head.scales, strict=True):
            flat = level.flatten(2).mT
            count = flat.shape[1]
            code = flat @ head.bbox_pred.weight[:, :, 0, 0].T + head.bbox_pred.bias
            assert torch.allclose(raw.code[:, start : start + count], code * scale.scale)
            middle = flat @ head.centerness.weight[0, :, 0, 0] + head.centerness.bias
            assert torch.allclose(raw.centre[:, start : start + count], middle)
            start += count
    assert raw.anchors.counts == (96, 24, 6)


def test_a_head_begins_with_a_word_in_a_hundred() -> None:
    with torch.random.fork_rng():
        head = Head(CONFIG)
    assert torch.sigmoid(head.bias0).item() == pytest.approx(0.01)
    assert head.log_scale.item() == 0


def test_the_pyramid_is_its_formula() -> None:
    neck = randomised(Pyramid([3, 5], 4, first=2))
    fine, coarse = drawn(1, 3, 4, 6, seed=3), drawn(1, 5, 2, 3, seed=4)
    with torch.no_grad():
        got = neck([fine, coarse])
        top = functional.conv2d(coarse, neck.fpn_inner3.weight, neck.fpn_inner3.bias)
        below = functional.conv2d(fine, neck.fpn_inner2.weight, neck.fpn_inner2.bias)
        below = below + top.repeat_interleave(2, 2).repeat_interleave(2, 3)
        p3 = neck.fpn_layer2(below)
        p4 = neck.fpn_layer3(top)
        p6 = neck.top_blocks["p6"](p4)
        wanted = [p3, p4, p6, neck.top_blocks["p7"](p6.clamp(min=0))]
    assert [tuple(x.shape[2:]) for x in got] == [(4, 6), (2, 3), (1, 2), (1, 1)]
    for mine, other in zip(got, wanted, strict=True):
        assert torch.allclose(mine, other, atol=1e-12)
