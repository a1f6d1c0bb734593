"""Every learner's logits written a second time, from its state dict and its options.

Whole context, explicit concatenation, nothing shared or cached; only weights are taken from CLIP.

Legend: B image, C class, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tests.contract import direct
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.learners.base import Learner

Values = Mapping[str, Tensor]


def features(
    learner: Learner, values: Values, pixels: Tensor, names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Unit image ``(B, E)`` and text ``(C, E)`` features under learnables ``values``."""
    clip, options = learner.clip, learner.config()
    text, vision = {}, {}
    for layer in range(64):
        if (key := f"family.text.{layer}") in values:
            text[layer] = values[key][None, None]
        if (key := f"family.vision.{layer}") in values:
            vision[layer] = values[key][None]
    vision |= direct.coupled(values, {layer: p[:, 0] for layer, p in text.items()})
    image_BE = direct.image_features(clip, pixels, vision)
    text_CE = direct.text_features(clip, direct.class_rows(learner, names), text)[0]
    image_BE = direct.adapted(image_BE, values, "image", options)
    text_CE = direct.adapted(text_CE, values, "text", options)
    return direct.unit(image_BE), direct.unit(text_CE)


def zero_shot(clip: Clip, pixels: Tensor, names: Sequence[str]) -> Tensor:
    """``(B, C)`` of "a photo of a {}." ."""
    texts = [f"a photo of a {name.replace('_', ' ')}." for name in names]
    text = direct.text_features(clip, direct.sentence_rows(clip, texts), {})[0]
    image = direct.image_features(clip, pixels, {})
    return clip.logit_scale.exp() * direct.unit(image) @ direct.unit(text).T


def logits(learner: Learner, values: Values, pixels: Tensor, names: Sequence[str]) -> Tensor:
    """``(B, C)`` under learnables ``values``."""
    if "keys" in values:  # Tip-Adapter
        image = direct.unit(direct.image_features(learner.clip, pixels, {}))
        out = zero_shot(learner.clip, pixels, names)
        return out + direct.cached(image, values, names, learner.config())
    if learner.name in ("llu", "clip-lora", "2sfs"):  # what they do to towers and features
        own = {name: p.detach() for name, p in learner.prompts(pixels).items()}
        if "ctx" in values:
            own = {"text.0": values["ctx"][None, None]}
        images = ImageBatch(pixels, None, torch.arange(len(pixels)))
        return direct.logits(learner, images, names, own, values)
    image, text = features(learner, values, pixels, names)
    return learner.clip.logit_scale.exp() * image @ text.T
