"""A detector and expressions that are small enough for tests of every method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffuprompt.grounding.contract import Batch, Expression, Span, Tokens
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.swin import SwinConfig
from diffuprompt.grounding.worlds.labels import vocabulary

SIDE = 32
TEXTS = ("red ring", "the blue square left of a red ring", "blue ring above a red square")
ROOTS: tuple[Span, ...] = ((0, 8), (4, 15), (0, 9))
TOY = GlipConfig(
    swin=SwinConfig(width=8, depths=(1, 2, 1), heads=(2, 2, 2), window=4, outputs=(0, 1, 2)),
    bert=BertConfig(vocab_size=40, width=16, layers=2, heads=2, hidden=24, max_length=16),
    channels=16,
    extra=0,
    tower="conv",
    depth=1,
    strides=(4, 8, 16),
    anchors=(8, 14, 22),
    plus=0.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    channel_order="rgb",
)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def redrawn(module: nn.Module, seed: int = 0) -> None:
    """Move every parameter, so that nothing rests at an initial 0."""
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            spread = 0.1 if p.ndim < 2 else max(p[:1].numel(), 1) ** -0.5
            p.add_((drawn(*p.shape, seed=1000 * seed + i) * spread).to(p))


def toy_detector(*, double: bool = True) -> GlipDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of biases, which nothing below draws
        model = Glip(TOY)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.zero_()
    redrawn(model)
    words = ["red ring", "blue square"]
    model = model.double() if double else model
    return GlipDetector(model, vocabulary(words), name="toy", side=SIDE)


class ToyExpressions:
    """Two coloured boxes a picture; the expression means one of them."""

    content, has_masks = "toy", True

    def __init__(self, count: int = 6, *, double: bool = True) -> None:
        self.count, self.dtype = count, torch.float64 if double else torch.float32

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Expression:
        x0, y0, x1, y1 = self._box(row)
        index = row % len(TEXTS)
        return Expression(
            name=str(row),
            picture=str(row),
            text=TEXTS[index],
            root=ROOTS[index],
            box=(x0, y0, x1, y1),
        )

    def size(self, row: int) -> tuple[int, int]:
        return SIDE, SIDE

    def batch(self, rows: Sequence[int], side: int) -> Batch:
        assert side == SIDE
        pixels = torch.zeros(len(rows), 3, side, side, dtype=self.dtype)
        masks = torch.zeros(len(rows), side, side, dtype=self.dtype)
        boxes = torch.zeros(len(rows), 4, dtype=self.dtype)
        for i, row in enumerate(rows):
            x0, y0, x1, y1 = self._box(row)
            pixels[i, 0, y0:y1, x0:x1] = masks[i, y0:y1, x0:x1] = 1
            pixels[i, 2, 31 - y1 : 31 - y0, 31 - x1 : 31 - x0] = 1
            boxes[i] = torch.tensor([x0, y0, x1, y1])
        every = [self[row] for row in rows]
        return Batch(
            pixels=pixels,
            texts=tuple(one.text for one in every),
            roots=tuple(one.root for one in every),
            boxes=boxes,
            masks=masks,
        )

    @staticmethod
    def _box(row: int) -> tuple[int, int, int, int]:
        x0, y0 = 1 + 5 * row % 17, 2 + 7 * row % 13
        return x0, y0, x0 + 10 + row % 3, y0 + 9 + row % 4


def tokens_of(tokens: Tokens, index: int) -> Tokens:
    """Return one caption's tokens, without padding."""
    length = int(tokens.mask[index].sum())
    return Tokens(
        ids=tokens.ids[index : index + 1, :length],
        mask=tokens.mask[index : index + 1, :length],
        offsets=tokens.offsets[index : index + 1],
    )
