"""Pixels as the checkpoint wants them: the fields of a Hugging Face ``preprocessor_config.json``.

The test view equals transformers' PIL image processor bit for bit; the train view is the field's
RandomResizedCrop and flip with every random number taken from the caller's stream.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data.levels import upright
from diffuprompt.data.preprocess_fields import FieldReader

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
CROP_SCALE = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """What turns a picture into the tower's input; defaults are those of CLIP's processor.

    Exactly one of ``shortest_edge`` and ``exact_size`` is used when ``do_resize``. Sizes are
    ``(height, width)``; ``resample`` is Pillow's filter number (3 is bicubic). Views are always
    RGB: ``do_convert_rgb`` is kept only because the checkpoint carries it. ``exif_orientation``,
    which CLIP's processor does not know, turns a picture as its file says.
    """

    do_resize: bool = True
    shortest_edge: int | None = 224
    exact_size: tuple[int, int] | None = None
    resample: int = 3
    do_center_crop: bool = True
    crop_size: tuple[int, int] = (224, 224)
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = OPENAI_MEAN
    image_std: tuple[float, float, float] = OPENAI_STD
    do_convert_rgb: bool = True
    exif_orientation: bool = False

    @classmethod
    def for_size(cls, side: int) -> Preprocess:
        """Return OpenAI's preprocessing for square inputs of ``side`` pixels."""
        return cls(shortest_edge=side, crop_size=(side, side))

    @classmethod
    def from_hf(cls, fields: Mapping[str, Any], source: Path | str) -> Preprocess:
        """Read the fields of a ``preprocessor_config.json``; ``source`` is named in errors.

        Missing fields take CLIP's defaults and ``size: 224`` means the shortest edge, as in old
        folders. Raises `CheckpointError` with every unsupported value at once.
        """
        read = FieldReader(fields, str(source))
        read.processor_type()
        do_resize = read.flag("do_resize", True)
        shortest_edge, exact_size = read.resize_size()
        do_center_crop = read.flag("do_center_crop", True)
        if not do_center_crop and not (do_resize and exact_size):
            read.problem("do_center_crop", "true, or a size with height and width", do_center_crop)
        preprocess = cls(
            do_resize=do_resize,
            shortest_edge=shortest_edge,
            exact_size=exact_size,
            resample=read.resample(),
            do_center_crop=do_center_crop,
            crop_size=read.crop_size(),
            do_rescale=read.flag("do_rescale", True),
            rescale_factor=read.positive("rescale_factor", 1 / 255),
            do_normalize=read.flag("do_normalize", True),
            image_mean=read.triple("image_mean", OPENAI_MEAN),
            image_std=read.triple("image_std", OPENAI_STD, positive=True),
            do_convert_rgb=read.flag("do_convert_rgb", True),
            exif_orientation=read.flag("exif_orientation", False),
        )
        read.finish()
        return preprocess

    def to_hf(self) -> dict[str, Any]:
        """Return the fields of a ``preprocessor_config.json`` that transformers reads back."""
        if self.exact_size is not None:
            size = {"height": self.exact_size[0], "width": self.exact_size[1]}
        else:
            size = {"shortest_edge": self.shortest_edge or 224}
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": self.do_resize,
            "size": size,
            "resample": self.resample,
            "do_center_crop": self.do_center_crop,
            "crop_size": {"height": self.crop_size[0], "width": self.crop_size[1]},
            "do_rescale": self.do_rescale,
            "rescale_factor": self.rescale_factor,
            "do_normalize": self.do_normalize,
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            "do_convert_rgb": self.do_convert_rgb,
            **({"exif_orientation": True} if self.exif_orientation else {}),
        }

    @property
    def hash(self) -> str:
        """Sixteen hex digits, equal iff every field is equal."""
        text = json.dumps(self.to_hf(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def output_size(self) -> tuple[int, int]:
        """``(height, width)`` of every view."""
        if self.do_center_crop or self.exact_size is None:
            return self.crop_size
        return self.exact_size

    def test_view(self, image: Image.Image) -> Tensor:
        """Return the deterministic view: float32 ``(3, H, W)`` of ``output_size``."""
        image = self._rgb(image)
        if self.do_resize:
            height, width = self._resized(image.height, image.width)
            image = image.resize((width, height), Image.Resampling(self.resample))
        pixels_HWC = np.asarray(image)
        if self.do_center_crop:
            pixels_HWC = _center_crop(pixels_HWC, self.crop_size)
        return self._normalised(pixels_HWC)

    def train_view(
        self,
        image: Image.Image,
        rng: random.Random,
        scale: tuple[float, float] = CROP_SCALE,
    ) -> Tensor:
        """Return a random view: float32 ``(3, H, W)`` of ``output_size``.

        RandomResizedCrop with ``scale`` and ratio (3/4, 4/3), then a horizontal flip with
        probability 0.5; cropped pixels are resized with the checkpoint's own filter. Draws from
        ``rng``, in this order: for each of at most ten tries ``uniform`` area and ``uniform`` log
        ratio; after a try that fits ``randrange`` top and ``randrange`` left; last ``random`` flip.
        """
        image = self._rgb(image)
        top, left, height, width = random_crop_box(image.height, image.width, rng, scale)
        out_height, out_width = self.output_size
        image = image.crop((left, top, left + width, top + height))
        image = image.resize((out_width, out_height), Image.Resampling(self.resample))
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._normalised(np.asarray(image))

    def squashed_view(
        self, image: Image.Image, change: Callable[[Image.Image], Image.Image]
    ) -> Tensor:
        """Return ``change`` of the whole picture squashed to ``output_size``, as float32."""
        height, width = self.output_size
        image = self._rgb(image).resize((width, height), Image.Resampling(self.resample))
        return self._normalised(np.asarray(change(image)))

    def _rgb(self, image: Image.Image) -> Image.Image:
        return to_rgb(upright(image) if self.exif_orientation else image)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.exact_size is not None:
            return self.exact_size
        short = self.shortest_edge or 224
        # transformers truncates the long side, it does not round; the order of operations matters
        long = int(short * max(height, width) / min(height, width))
        return (long, short) if width <= height else (short, long)

    def _normalised(self, pixels_HWC: np.ndarray) -> Tensor:
        # float64 product, float32 difference: the order transformers uses, hence equal bits
        if self.do_rescale:
            values = (pixels_HWC.astype(np.float64) * self.rescale_factor).astype(np.float32)
        else:
            values = pixels_HWC.astype(np.float32)
        if self.do_normalize:
            values = (values - _float32(self.image_mean)) / _float32(self.image_std)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as RGB; transparent pixels are laid on white, as transformers does."""
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def random_crop_box(
    height: int, width: int, rng: random.Random, scale: tuple[float, float] = CROP_SCALE
) -> tuple[int, int, int, int]:
    """Return ``(top, left, height, width)`` of a crop, by torchvision's RandomResizedCrop.

    Ten tries; when none fits, the largest centred box whose ratio is allowed.
    """
    low, high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
    for _ in range(CROP_TRIES):
        area = height * width * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return rng.randrange(height - h + 1), rng.randrange(width - w + 1), h, w
    w, h = width, height
    if width / height < CROP_RATIO[0]:
        h = round(width / CROP_RATIO[0])
    elif width / height > CROP_RATIO[1]:
        w = round(height * CROP_RATIO[1])
    return (height - h) // 2, (width - w) // 2, h, w


def _float32(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def _center_crop(pixels_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut or zero-pad to ``size``; an odd margin leaves its extra row at the end."""
    out = np.zeros((*size, pixels_HWC.shape[2]), dtype=pixels_HWC.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for have, want in zip(pixels_HWC.shape[:2], size, strict=True):
        start = (have - want) // 2  # floor also below zero: a missing odd row is padded in front
        source.append(slice(max(start, 0), min(start + want, have)))
        target.append(slice(max(-start, 0), max(-start, 0) + min(have, want)))
    out[target[0], target[1]] = pixels_HWC[source[0], source[1]]
    return out
