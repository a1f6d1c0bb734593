"""Towers that contracts run on: tiny random ones built by hand, and real ones where they are."""

from __future__ import annotations

import gzip
import math
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.checkpoints.tokenizer import BPE_FILE, Tokenizer
from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.data.transforms import Preprocess
from diffuprompt.engine.seeds import torch_stream

WORDS = ("photo", "of", "cat")  # one token each, as in CLIP; all other words are spelled
NAMES = ("cat", "sea_lion", "dog", "x", "grand piano", "ox")  # 1 to 10 tokens, two of one length
TINY = ("plain-vit", "stem-vit")


def tokenizer(words: tuple[str, ...] = WORDS) -> Tokenizer:
    """A byte-level BPE that knows a few whole words."""
    merges: dict[str, None] = {}
    for word in words:
        left, *rest = [*word[:-1], word[-1] + "</w>"]
        for right in rest:
            merges[f"{left} {right}"] = None
            left += right
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / BPE_FILE
        path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *merges, ""]).encode()))
        return Tokenizer.from_bpe(path)


def tiny(
    kind: str = "plain-vit",
    dtype: torch.dtype = torch.float64,
    *,
    text_width: int | None = None,
    vision_width: int | None = None,
    embed_dim: int | None = None,
    layers: int | None = None,
    scale: float = 10.0,
) -> Clip:
    """A small CLIP with random weights, norms and biases too, so that none can hide.

    Weights are drawn in float32, so float64 towers hold the same numbers as float32 ones.
    """
    tokens = tokenizer()
    shape = {"vocab_size": tokens.vocab_size, "sot": tokens.sot, "eot": tokens.eot}
    stem = None
    if kind == "plain-vit":
        depth, (dt, dv, embed) = layers or 2, (32, 48, 64)
        dt, dv, embed = text_width or dt, vision_width or dv, embed_dim or embed
        text = TextConfig(
            width=dt, layers=depth, heads=4, mlp_width=2 * dt, context_length=77,
            pad=tokens.pad, **shape,
        )  # fmt: skip
        vision = VisionConfig(
            width=dv, layers=depth, heads=3, mlp_width=2 * dv, image_size=24, patch_size=8
        )
    else:  # another grid than the picture, other widths, depths and activations
        text = TextConfig(
            width=24, layers=3, heads=3, mlp_width=40, activation="gelu", context_length=40,
            pad=0, **shape,
        )  # fmt: skip
        vision = VisionConfig(
            width=32, layers=2, heads=2, mlp_width=48, activation="gelu_pytorch_tanh",
            image_size=3, patch_size=1, channels=10, stem={"type": "test"},
        )  # fmt: skip
        embed, stem = 96, nn.Conv2d(3, 10, 8, stride=8)
    with torch.random.fork_rng(devices=[]):
        clip = Clip(
            ClipConfig(text=text, vision=vision, embed_dim=embed),
            tokens,
            Preprocess.for_size(24),
            stem=stem,
            name=kind,
            weights_hash=f"tiny-{kind}",
        )
    generator = torch_stream(0, "tower", kind)
    with torch.no_grad():
        for name, p in clip.named_parameters():
            if p.ndim > 1:
                std = 0.5 if "embedding" in name or "positions" in name else p[0].numel() ** -0.5
                p.normal_(0, std, generator=generator)
            else:
                p.normal_(float(".ln_" in name and "weight" in name), 0.3, generator=generator)
        clip.logit_scale.fill_(math.log(scale))
    return clip.to(dtype).freeze()


@cache
def tower(name: str, dtype: torch.dtype, folder: Path | None = None) -> Clip:
    """A tower by name, made once per process; ``folder`` is where a real one lies.

    In float64 a real one ends after two blocks, as deep as prompts go here: it brings real weights,
    widths, stem and vocabulary, in half of the time. In float32 it is whole.
    """
    if folder is None:
        return tiny(name, dtype)
    clip = load_clip(folder, dtype=dtype)
    if dtype is torch.float64:
        cut(clip, layers=2)
    if not isinstance(clip.vision.stem, nn.Identity):
        clip.vision.stem = Remembered(clip.vision.stem)
    return clip


def cut(clip: Clip, layers: int) -> None:
    """Leave out what stands behind the first ``layers`` blocks of each tower."""
    for tower in (clip.text, clip.vision):
        tower.config = replace(tower.config, layers=layers)
        del tower.blocks[layers:]
    clip.config = replace(clip.config, text=clip.text.config, vision=clip.vision.config)


class Remembered(nn.Module):
    """A stem that computes the same pixels once: it is most of the time, and sees no prompt."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self._grids: dict[int, torch.Tensor] = {}

    def forward(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        key = hash(pixels_BCHW.numpy().tobytes())
        if key not in self._grids:
            with torch.no_grad():
                self._grids[key] = self.stem(pixels_BCHW)
        return self._grids[key]


@cache
def pictures(clip: Clip, count: int) -> ImageBatch:
    """Random coloured patches, so that features differ; labels among `NAMES`; features."""
    dtype, generator = clip.logit_scale.dtype, torch_stream(0, "pixels")
    patches = 1.5 * torch.randn(count, 3, 4, 4, generator=generator)
    pixels = nn.functional.interpolate(patches, clip.preprocess.output_size).to(dtype)
    index = torch.arange(count)
    with torch.no_grad():
        features = clip.vision(pixels)
    noise = torch.randn(features.shape, generator=torch_stream(0, "second view")).to(dtype)
    labels = index * 5 % len(NAMES)
    return ImageBatch(pixels, labels, index, features, second=features + 0.1 * noise)


def rows(images: ImageBatch, index: torch.Tensor | list[int]) -> ImageBatch:
    """Some of the images."""
    return images.select(torch.as_tensor(index))
