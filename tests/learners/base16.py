"""CLIP ViT-B/16's shapes without memory for its weights."""

from __future__ import annotations

from functools import cache

import torch
from tests.contract.towers import tokenizer

from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.model import Clip
from diffuprompt.data.transforms import Preprocess


@cache
def base16() -> Clip:
    """ViT-B/16 on the meta device, made once: nothing can change its weights."""
    tokens = tokenizer()
    text = TextConfig(
        width=512, layers=12, heads=8, mlp_width=2048, vocab_size=49408, context_length=77,
        sot=tokens.sot, eot=tokens.eot, pad=tokens.pad,
    )  # fmt: skip
    vision = VisionConfig(
        width=768, layers=12, heads=12, mlp_width=3072, image_size=224, patch_size=16
    )
    with torch.device("meta"):
        config = ClipConfig(text=text, vision=vision, embed_dim=512)
        return Clip(config, tokens, Preprocess()).freeze()
