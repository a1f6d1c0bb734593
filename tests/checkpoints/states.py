"""Tiny state dicts with OpenAI's names, and open_clip's description of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tests.clip import tiny
from torch import Tensor

from diffuprompt.data.transforms import OPENAI_MEAN, OPENAI_STD

SIDE, PATCH, CONTEXT, LAYERS, EMBED = 24, 8, 20, 2, 24


def openai_state(*, vision: int = 64, text: int = 64) -> dict[str, Tensor]:
    """Random weights of two layers per tower, of these widths."""
    stream = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 0.05 * torch.randn(*shape, generator=stream)

    state = {
        "visual.class_embedding": draw(vision),
        "visual.positional_embedding": draw((SIDE // PATCH) ** 2 + 1, vision),
        "visual.proj": draw(vision, EMBED),
        "visual.conv1.weight": draw(vision, 3, PATCH, PATCH),
        "positional_embedding": draw(CONTEXT, text),
        "text_projection": draw(text, EMBED),
        "token_embedding.weight": draw(tiny.VOCABULARY, text),
        "logit_scale": torch.tensor(4.6),
    }
    for prefix, width in (("visual.", vision), ("", text)):
        for i in range(LAYERS):
            block = f"{prefix}transformer.resblocks.{i}."
            state |= {
                f"{block}attn.in_proj_weight": draw(3 * width, width),
                f"{block}attn.in_proj_bias": draw(3 * width),
                f"{block}attn.out_proj.weight": draw(width, width),
                f"{block}attn.out_proj.bias": draw(width),
                f"{block}mlp.c_fc.weight": draw(4 * width, width),
                f"{block}mlp.c_fc.bias": draw(4 * width),
                f"{block}mlp.c_proj.weight": draw(width, 4 * width),
                f"{block}mlp.c_proj.bias": draw(width),
            }
            for name in ("ln_1", "ln_2"):
                state |= _norm(f"{block}{name}", width)
    for name, width in (("visual.ln_pre", vision), ("visual.ln_post", vision), ("ln_final", text)):
        state |= _norm(name, width)
    return state


def _norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def open_clip_fields(
    *,
    vision: tuple[int, int] = (64, 1),
    text: tuple[int, int] = (64, 1),
    quick_gelu: bool = True,
    mean: tuple[float, ...] = OPENAI_MEAN,
    std: tuple[float, ...] = OPENAI_STD,
    **pixels: Any,
) -> dict[str, Any]:
    """Return an ``open_clip_config.json``; towers are ``(width, heads)``."""
    image_tower = {"image_size": SIDE, "layers": LAYERS, "width": vision[0], "patch_size": PATCH}
    image_tower["head_width"] = vision[0] // vision[1]
    words = {"context_length": CONTEXT, "vocab_size": tiny.VOCABULARY, "width": text[0]}
    words |= {"heads": text[1], "layers": LAYERS}
    model = {"embed_dim": EMBED, "vision_cfg": image_tower, "text_cfg": words}
    return {
        "model_cfg": {**model, "quick_gelu": quick_gelu},
        "preprocess_cfg": {"mean": list(mean), "std": list(std), **pixels},
    }


def described(folder: Path, **how: Any) -> Path:
    """Put the description into ``folder``; see `open_clip_fields`."""
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_fields(**how)))
    return folder
