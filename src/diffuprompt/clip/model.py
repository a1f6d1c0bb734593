"""A frozen CLIP: two towers, the temperature, and its own tokenizer and preprocessing.

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.identity import clip_identity
from diffuprompt.clip.text import TextTower
from diffuprompt.clip.tokens import Encoder
from diffuprompt.clip.vision import VisionTower
from diffuprompt.data import Preprocess
from diffuprompt.engine import Precision


class Clip(nn.Module):
    """CLIP (Radford et al. 2021) whose towers take prompts as arguments.

    Attributes:
        name: what the user called it, e.g. "openai/clip-vit-base-patch16".
        weights_hash: sixteen hex digits of the weight files' sha256.
    """

    def __init__(
        self,
        config: ClipConfig,
        tokenizer: Encoder,
        preprocess: Preprocess,
        *,
        stem: nn.Module | None = None,
        name: str = "",
        weights_hash: str = "",
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name
        self.weights_hash = weights_hash
        self.text = TextTower(config.text, config.embed_dim)
        self.vision = VisionTower(config.vision, config.embed_dim, stem)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @cached_property
    def identity(self) -> str:
        """Thirty-two hex digits over all that features depend on; see `clip_identity`."""
        return clip_identity(self.config, self.tokenizer, self.preprocess, self.weights_hash)

    def apply_exif_orientation(self) -> None:
        """Turn pictures as their files say before anything else; another identity is due."""
        self.preprocess = replace(self.preprocess, exif_orientation=True)
        self.__dict__.pop("identity", None)

    @property
    def scale(self) -> Tensor:
        """The factor of the cosine in the logits, ``exp(logit_scale)``."""
        return self.logit_scale.exp()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    def set_precision(self, precision: Precision) -> None:
        """Choose how both towers run with prompts; see `precision.mixed`."""
        self.text.precision = self.vision.precision = precision

    def freeze(self) -> Clip:
        """Stop all gradients to the weights and leave training mode; returns itself."""
        return self.requires_grad_(False).eval()

    def logits(self, image_BE: Tensor, text_BCE: Tensor) -> Tensor:
        """``scale * cosine``: image features ``(B, E)`` and text ``(B|1, C, E)`` to ``(B, C)``."""
        image, text = normalize(image_BE), normalize(text_BCE)
        if text.shape[0] == 1:
            return self.scale * image @ text[0].T
        return self.scale * torch.einsum("be,bce->bc", image, text)


def normalize(features: Tensor) -> Tensor:
    """Scale the last axis to unit length."""
    return functional.normalize(features, dim=-1)
