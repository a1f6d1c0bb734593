"""Checkpoints as the methods' repositories write them, made from their key maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.engine.seeds import torch_stream

Sizes = dict[str, Any]


def learned(method: str, clip: Clip, *, tokens: int = 2, depth: int = 2) -> dict[str, Tensor]:
    """Random learned tensors under the repositories' names."""
    text, vision, embed = clip.config.text.width, clip.config.vision.width, clip.config.embed_dim
    stream = torch_stream(0, "legacy", method)

    def draw(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=stream)

    deep = range(1, depth)
    if method in ("coop", "prograd"):
        return {"ctx": draw(tokens, text)}
    if method == "clip-adapter":  # the network alone
        return {"fc.0.weight": draw(embed // 4, embed), "fc.2.weight": draw(embed, embed // 4)}
    if method == "coop-per-class":
        return {"ctx": draw(6, tokens, text)}
    if method == "cocoop":
        hidden = embed // 16
        return {
            "ctx": draw(tokens, text),
            "meta_net.linear1.weight": draw(hidden, embed),
            "meta_net.linear1.bias": draw(hidden),
            "meta_net.linear2.weight": draw(text, hidden),
            "meta_net.linear2.bias": draw(text),
        }
    block = "transformer.resblocks"
    image = {"image_encoder.VPT": draw(3, vision)}
    image |= {f"image_encoder.{block}.{i}.VPT_shallow": draw(3, vision) for i in deep}
    context = {"prompt_learner.ctx": draw(tokens, text)}
    if method == "vpt":
        return image
    if method in ("ivlp", "promptsrc"):
        words = {f"text_encoder.{block}.{i}.VPT_shallow": draw(tokens, text) for i in deep}
        return {**context, **words, **image}
    out = dict(context)
    out["prompt_learner.proj.weight"] = draw(vision, text)
    out["prompt_learner.proj.bias"] = draw(vision)
    for i in range(depth - 1):
        out[f"prompt_learner.compound_prompts_text.{i}"] = draw(tokens, text)
        key = f"prompt_learner.compound_prompt_projections.{i}"
        out |= {f"{key}.weight": draw(vision, text), f"{key}.bias": draw(vision)}
    if method == "coprompt":
        for tower in ("image", "text"):
            out[f"adapter_{tower}.fc.0.weight"] = draw(embed // 4, embed)
            out[f"adapter_{tower}.fc.2.weight"] = draw(embed, embed // 4)
    return out


def frozen(method: str, clip: Clip) -> dict[str, Tensor]:
    """Some of what else is in such a file."""
    if method == "clip-adapter":
        return {}
    alone = method.startswith("co") and method != "coprompt"
    prefix = "" if alone or method == "prograd" else "prompt_learner."
    out = {
        f"{prefix}token_prefix": torch.zeros(6, 1, 4),
        f"{prefix}token_suffix": torch.ones(6, 9, 4),
    }
    if prefix:
        out["logit_scale"] = clip.logit_scale.detach().half()
        out["image_encoder.conv1.weight"] = torch.zeros(2, 2)
        out["prompt_learner.ZS_image_encoder.conv1.weight"] = torch.zeros(2, 2)
        out["model_distill.visual.VPT_like"] = torch.zeros(1)
    return out


def write(path: Path, state: dict[str, Tensor], **rest: Any) -> Path:
    """Save as Dassl does: optimiser state and a scheduler *object* are in it too."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.sum().backward()
    optimiser.step()
    successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
    schedule = {"successor": successor, "last_epoch": 4, "base_lrs": [0.1]}
    content = {
        "state_dict": state,
        "epoch": 5,
        "optimizer": optimiser.state_dict(),
        "scheduler": schedule,
        "val_result": None,
        **rest,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path
