"""What the mask generator is told about pictures and captions: by the detector, or by CLIP.

Legend: B expression of a batch, E width of CLIP's features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import Clip, sentence_tokens
from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Batch, Detector
from diffuprompt.grounding.masks.condition import Condition, pooled_condition, tokens_condition
from diffuprompt.grounding.masks.mask_vae import DOWN
from diffuprompt.grounding.methods.batches import placed


def latent_grid(side: int) -> tuple[int, int]:
    """Return rows and columns of the latents of pictures of ``side x side`` pixels."""
    return side // DOWN, side // DOWN


@torch.no_grad()
def condition_of(detector: Detector, clip: Clip | None, batch: Batch, kind: str) -> Condition:
    """Return the condition of a batch: "tokens" of the detector, or "pooled" features of CLIP.

    Raises:
        ConfigError: "pooled" without a CLIP.
    """
    if kind == "pooled":
        if clip is None:
            raise ConfigError("condition: 'pooled' reads features of a CLIP, and none is loaded")
        pixels = batch.pixels.to(clip.device)
        return pooled_condition(_image_features(clip, pixels), _features(clip, batch.texts))
    batch, tokens = placed(detector, batch)
    context = detector.context(batch.pixels, tokens)
    return tokens_condition(context, batch.roots, latent_grid(batch.pixels.shape[-1]))


def _image_features(clip: Clip, pixels: Tensor) -> Tensor:
    """Return ``(B, E)``, not normalised; pictures by CLIP's own rules."""
    wanted = clip.preprocess
    pixels = functional.interpolate(
        pixels, wanted.output_size, mode="bicubic", antialias=True
    ).clamp(0, 1)
    mean, std = (pixels.new_tensor(v)[:, None, None] for v in (wanted.image_mean, wanted.image_std))
    return clip.vision((pixels - mean) / std)


def _features(clip: Clip, texts: Sequence[str]) -> Tensor:
    length = clip.config.text.context_length
    distinct = list(dict.fromkeys(texts))
    tokens = sentence_tokens(clip.tokenizer, distinct, length, truncate=True).to(clip.device)
    rows = {text: i for i, text in enumerate(distinct)}
    return clip.text(tokens)[0][[rows[text] for text in texts]]
