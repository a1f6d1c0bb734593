"""GLIP with late fusion (arXiv 2112.03857, variant A): boxes for the words of a caption.

Vision and language meet in the last dot product only. Parameters have GLIP's names below the
towers, so that ``glip_a_tiny_o365.pth`` is read by its own keys.

GLIP pads its pictures to multiples of 32 pixels before the tower; here the tower pads where it has
to, which is the same for sides that are such multiples (224, 800).

Legend: B image, A anchor, S text token, C channels, D text width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.grounding.contract import UNCHANGED, Adaptation
from diffuprompt.grounding.detectors.anchors import Anchors, grid_anchors
from diffuprompt.grounding.detectors.bert import Bert, BertConfig
from diffuprompt.grounding.detectors.dyhead import DynamicBlock, Upsample
from diffuprompt.grounding.detectors.neck import Pyramid
from diffuprompt.grounding.detectors.swin import Swin, SwinConfig

CLAMP = 50000.0
PRIOR = 0.01  # probability of a word at an anchor before training


@dataclass(frozen=True, kw_only=True)
class GlipConfig:
    """Sizes; the defaults are GLIP-T(A)'s.

    Attributes:
        swin: of the image tower.
        bert: of the text tower.
        channels: of pyramid and head.
        extra: coarser levels beyond the tower's.
        tower: "dynamic" blocks, or plain "conv" layers, which are enough for small worlds.
        depth: layers of the tower.
        upsample: of the dynamic blocks.
        strides: of the levels, fine to coarse.
        anchors: side of the anchor of each level, in pixels.
        plus: 1 where pixels are counted inclusively, as GLIP does; else 0.
        mean: of the pixels, in 0..1, in the order of ``channel_order``.
        std: likewise.
        channel_order: of the pixels that the tower was trained on.
        trunk: backbone whose frozen stem the tower reads in the place of pixels, see `load_trunk`;
            "" for none.
    """

    swin: SwinConfig = field(default_factory=SwinConfig)
    bert: BertConfig = field(default_factory=BertConfig)
    channels: int = 256
    extra: int = 2
    tower: Literal["dynamic", "conv"] = "dynamic"
    depth: int = 6
    upsample: Upsample = "bilinear"
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    anchors: tuple[float, ...] = (64, 128, 256, 512, 1024)
    plus: float = 1.0
    mean: tuple[float, float, float] = (103.530 / 255, 116.280 / 255, 123.675 / 255)
    std: tuple[float, float, float] = (57.375 / 255, 57.120 / 255, 58.395 / 255)
    channel_order: Literal["rgb", "bgr"] = "bgr"
    trunk: str = ""


TINY = GlipConfig(
    swin=SwinConfig(width=48, depths=(2, 2, 2), heads=(3, 6, 12), window=4, outputs=(0, 1, 2)),
    bert=BertConfig(vocab_size=80, width=128, layers=4, heads=4, hidden=256, max_length=64),
    channels=64,
    extra=0,
    tower="conv",
    depth=2,
    strides=(4, 8, 16),
    anchors=(12, 22, 34),
    plus=0.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    channel_order="rgb",
)
PHOTO = replace(  # for `photo-clip-lite`'s trunk, whose mean and deviation these are
    TINY,
    swin=replace(TINY.swin, patch=1, width=64, heads=(4, 8, 16), channels=472),
    strides=(8, 16, 32),
    anchors=(24, 36, 52),
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    trunk="photo-clip-lite",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """What the head says about every anchor.

    Attributes:
        words: ``(B, A, S)`` logits of each token of the caption.
        code: ``(B, A, 4)``, see `boxes.decode`.
        centre: ``(B, A)`` logits of the centerness.
        anchors: of a picture.
        cells: ``(B, A, C)``, what the dot product reads of the picture.
        language: ``(B, S, D)``, what it reads of the caption.
    """

    words: Tensor
    code: Tensor
    centre: Tensor
    anchors: Anchors
    cells: Tensor
    language: Tensor

    def cpu(self) -> Raw:
        """Return it on the host."""
        anchors = Anchors(boxes=self.anchors.boxes.cpu(), counts=self.anchors.counts)
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "anchors"}
        return Raw(anchors=anchors, **{name: value.cpu() for name, value in own.items()})


class Glip(nn.Module):
    """Pictures and captions to scores and boxes at every anchor; prompts are arguments."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: GlipConfig, trunk: nn.Module | None = None) -> None:
        """Build it; a ``trunk`` turns normalised pixels into what the tower reads as pixels."""
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.body = Swin(config.swin)
        widths = [config.swin.width * 2**i for i in config.swin.outputs]
        self.fpn = Pyramid(widths, config.channels, extra=config.extra)
        self.language = Bert(config.bert)
        self.head = Head(config)
        for name, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(
        self,
        pixels_BCHW: Tensor,
        ids_BS: Tensor,
        mask_BS: Tensor,
        adaptation: Adaptation = UNCHANGED,
    ) -> Raw:
        """Return what the head says.

        Args:
            pixels_BCHW: RGB in 0..1.
            ids_BS: captions' token ids.
            mask_BS: True for tokens, False for padding.
            adaptation: what is added; its ``weights`` are for `functional_call`, not for here.
        """
        levels, words = self.features(pixels_BCHW, ids_BS, mask_BS, adaptation)
        return self.head(levels, words, mask_BS)

    def features(
        self,
        pixels_BCHW: Tensor,
        ids_BS: Tensor,
        mask_BS: Tensor,
        adaptation: Adaptation = UNCHANGED,
    ) -> tuple[list[Tensor], Tensor]:
        """Return the pyramid's maps and the text features that the head reads."""
        change = adaptation
        pixels = self.normalised(pixels_BCHW)
        if self.trunk is not None:
            pixels = self.trunk(pixels)
        levels = self.fpn(self.body(pixels, change.visual, change.visual_layers))
        words = self.language(ids_BS, mask_BS, change.textual, change.textual_layers)
        levels = levels if change.levels is None else change.levels(levels)
        return levels, words if change.language is None else change.language(words)

    def normalised(self, pixels_BCHW: Tensor) -> Tensor:
        """Return pixels as the tower was trained on them."""
        if self.config.channel_order == "bgr":
            pixels_BCHW = pixels_BCHW.flip(1)
        return (pixels_BCHW - self.mean.to(pixels_BCHW)) / self.std.to(pixels_BCHW)


class Head(nn.Module):
    """A tower per level, then boxes, centerness and the dot product with the words."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.config = config
        channels, width = config.channels, config.bert.width
        blocks = [_block(config) for _ in range(config.depth)]
        self.dyhead_tower = nn.Sequential(*blocks)
        self.bbox_pred = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.dot_product_projection_text = nn.Linear(width, channels)
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.bias_lang = nn.Parameter(torch.zeros(width))
        self.bias0 = nn.Parameter(torch.tensor([-math.log((1 - PRIOR) / PRIOR)]))
        self.scales = nn.ModuleList(Scale() for _ in config.strides)

    def forward(self, levels: Sequence[Tensor], words_BSD: Tensor, mask_BS: Tensor) -> Raw:
        """Return what is said about every anchor, level after level."""
        levels = list(levels)
        for block in self.dyhead_tower:
            levels = block(levels)
        code = [scale(self.bbox_pred(x)) for scale, x in zip(self.scales, levels, strict=True)]
        grids = [(x.shape[2], x.shape[3]) for x in levels]
        config = self.config
        anchors = grid_anchors(
            grids, config.strides, config.anchors, plus=config.plus, device=words_BSD.device
        )
        cells_BAC = _by_anchor(levels)
        embedded = words_BSD * mask_BS[..., None]
        unit = functional.normalize(embedded, dim=-1)
        texts_BSC = self.dot_product_projection_text(unit / 2)
        bias_BS = unit @ self.bias_lang + self.bias0
        words = cells_BAC @ texts_BSC.transpose(1, 2) / self.log_scale.exp() + bias_BS[:, None]
        return Raw(
            words=words.clamp(-CLAMP, CLAMP),
            code=_by_anchor(code),
            centre=_by_anchor([self.centerness(x) for x in levels])[..., 0],
            anchors=anchors,
            cells=cells_BAC,
            language=words_BSD,
        )


class Scale(nn.Module):
    """One learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled tensor."""
        return x * self.scale


class ConvBlock(nn.Module):
    """The same 3 x 3 convolution, group norm and ReLU on every level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(min(16, channels // 4), channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return a map per level, of the same shapes."""
        return [functional.relu(self.norm(self.conv(x))) for x in levels]


def _block(config: GlipConfig) -> nn.Module:
    if config.tower == "conv":
        return ConvBlock(config.channels)
    return DynamicBlock(config.channels, config.upsample)


def _by_anchor(levels: Sequence[Tensor]) -> Tensor:
    """Return ``(B, A, C)`` of maps ``(B, C, H, W)``."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
