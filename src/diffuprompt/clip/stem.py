"""Stems: what turns pixels into the grid that a hybrid tower's patch embedding reads.

A vision config names its stem by ``type``; parameter names are the checkpoint's without prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.errors import CheckpointError, near_miss

# blocks, kernel, stride of the first block, expansion, channels out (Tan & Le 2019; "lite" 2020)
LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
PYRAMID = (2, 4, 6)  # the last stages with strides 8, 16 and 32

CPU_CHUNK = 4  # pictures at once on a CPU: their maps fit its cache, which doubles the speed


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'SAME' padding: the odd row or column is added at the end."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', ceil(H / stride), ceil(W / stride))``."""
        top, bottom = _same(x_BCHW.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = _same(x_BCHW.shape[-1], self.kernel_size[1], self.stride[1])
        if (top, left) == (bottom, right):
            return functional.conv2d(
                x_BCHW, self.weight, self.bias, self.stride, (top, left), 1, self.groups
            )
        return super().forward(functional.pad(x_BCHW, (left, right, top, bottom)))


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1 (Sandler et al. 2018), batch norm folded in."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.expand = nn.Conv2d(width, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(inner, inner, kernel, stride=stride, groups=inner)
        self.project = nn.Conv2d(inner, out, 1)
        self.residual = stride == 1 and width == out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output; the input is added when the shape is kept."""
        y = x_BCHW if self.expand is None else _relu6(self.expand(x_BCHW))
        y = self.project(_relu6(self.depthwise(y)))
        return x_BCHW + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its head: no squeeze-excitation, ReLU6, folded batch norm."""

    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.conv_stem = SameConv2d(3, width, 3, stride=2)
        self.blocks = nn.ModuleList()
        for count, kernel, stride, expansion, out in LITE0:
            stage = nn.ModuleList()
            for block in range(count):
                first = stride if block == 0 else 1
                stage.append(InvertedResidual(width, out, kernel, first, expansion))
                width = out
            self.blocks.append(stage)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 320, H / 32, W / 32)``, rounded up; no last activation."""
        return self._after(pixels_BCHW, (len(self.blocks) - 1,))[0]

    def maps(self, pixels_BCHW: Tensor) -> list[Tensor]:
        """Return the maps at strides 8, 16 and 32, each of the last stage with this stride."""
        return self._after(pixels_BCHW, PYRAMID)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of `maps`."""
        return tuple(LITE0[i][-1] for i in PYRAMID)

    def _after(self, pixels_BCHW: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """Return what some stages return."""
        x = pixels_BCHW.contiguous(memory_format=torch.channels_last)
        size = CPU_CHUNK if x.device.type == "cpu" else max(len(x), 1)
        parts = [
            [y for i, y in enumerate(self._stages(part)) if i in wanted] for part in x.split(size)
        ]
        return [torch.cat(one) for one in zip(*parts, strict=True)]

    def _stages(self, pixels_BCHW: Tensor) -> Iterator[Tensor]:
        x = _relu6(self.conv_stem(pixels_BCHW))
        for stage in self.blocks:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = block(x)
            yield x


def _relu6(x: Tensor) -> Tensor:
    """In place: a convolution's output is read by nothing else."""
    return functional.hardtanh(x, 0.0, 6.0, inplace=True)


STEMS: dict[str, Callable[[], nn.Module]] = {"efficientnet_lite0": EfficientNetLite0}


def build_stem(stem: Mapping[str, Any] | None) -> nn.Module | None:
    """Build the stem that ``vision_config["stem"]`` names; None for a plain ViT.

    Raises `CheckpointError` for a type that is not in `STEMS`.
    """
    if stem is None:
        return None
    name = str(stem.get("type"))
    if name not in STEMS:
        raise CheckpointError(
            f"vision_config.stem.type: expected one of {sorted(STEMS)}, got {name!r}."
            + near_miss(name, list(STEMS))
        )
    return STEMS[name]()


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
