"""CLIP with prompts, written a second time: whole context, one dense mask, nothing shared.

It takes only the weights from the towers. Tokens are laid out here from the methods' definitions.

Legend: N sequences, S sequence, D width, B image, C class, M prompt tokens.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.clip.layers import Block
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.learners.base import Learner
from diffuprompt.prompts import Slot

Row = list[int]  # token ids; -1 - i stands for prompt vector i


def logits(
    learner: Learner,
    images: ImageBatch,
    names: Sequence[str],
    prompts: Mapping[str, Tensor],
    values: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """``(B, C)`` of the learner under given source prompts, and learnables if they are given."""
    slots = learner.spec.slots
    if values is None:
        values = {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
    clip = merged(learner.clip, values, learner.config())
    text = {s.layer: prompts[s.name] for s in slots if s.tower == "text"}
    vision = {s.layer: prompts[s.name] for s in slots if s.tower == "vision"}
    vision = vision or coupled(values, {layer: p[:, 0] for layer, p in text.items()})
    options = learner.config()
    image_BE = adapted(image_features(clip, images.pixels, vision), values, "image", options)
    if "templates" in options and not text:
        text_BCE = zero_shot(clip, names, options["templates"])[None]
    elif "keys" in values:
        text_BCE = zero_shot(clip, names, ["a photo of a {}."])[None]
    else:
        text_BCE = text_features(clip, class_rows(learner, names), text)
        text_BCE = adapted(text_BCE, values, "text", options)
    if "rows" in values:
        text_BCE = with_rows(text_BCE, values["rows"], names, options["trained_classes"])
    if "image_centres" in values:
        image_BE = local(image_BE, values, "image", options)
        text_BCE = local(text_BCE, values, "text", options)
    out = clip.logit_scale.exp() * (unit(image_BE)[:, None] * unit(text_BCE)).sum(-1)
    return out + cached(unit(image_BE), values, names, options) if "keys" in values else out


def merged(clip: Clip, values: Mapping[str, Tensor], options: Mapping[str, Any]) -> Clip:
    """The towers with low-rank products added to their weights, or with other norms."""
    if "pairs.text.up" not in values and "norms.text.weight" not in values:
        return clip
    clip = copy.deepcopy(clip)
    for name, tower in (("text", clip.text), ("vision", clip.vision)):
        norms = [] if name == "text" else [tower.ln_pre]
        for layer, layer_block in enumerate(tower.blocks):
            norms += [layer_block.ln_1, layer_block.ln_2]
            if f"pairs.{name}.up" in values:
                up, down = values[f"pairs.{name}.up"][layer], values[f"pairs.{name}.down"][layer]
                factor = options["alpha"] / math.sqrt(options["rank"])
                added = torch.cat([factor * up[i] @ down[i] for i in range(3)])
                replace(layer_block.attn.qkv, "weight", layer_block.attn.qkv.weight + added)
        norms.append(tower.ln_final if name == "text" else tower.ln_post)
        if f"norms.{name}.weight" in values:
            for i, layer_norm in enumerate(norms):
                replace(layer_norm, "weight", values[f"norms.{name}.weight"][i])
                replace(layer_norm, "bias", values[f"norms.{name}.bias"][i])
    return clip


def replace(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a tensor, with its graph, in the place of a parameter."""
    delattr(module, name)
    setattr(module, name, value)


def with_rows(
    text_BCE: Tensor, rows: Tensor, names: Sequence[str], trained: Sequence[str]
) -> Tensor:
    """2SFS's classifier in the place of trained names' features."""
    each = [rows[trained.index(n)] if n in trained else text_BCE[0, i] for i, n in enumerate(names)]
    return torch.stack(each)[None]


def local(
    x: Tensor, values: Mapping[str, Tensor], space: str, options: Mapping[str, Any]
) -> Tensor:
    """LLU's update, feature by feature; its share carries no gradient."""
    weight, bias = values[f"maps.{space}.weight"], values[f"maps.{space}.bias"]
    centres = values[f"{space}_centres"]
    out = []
    for z in unit(x).flatten(0, -2):
        delta = min(max(1 - max(float((z @ centre).detach()) for centre in centres), 0), 1)
        share = options["gate"] * math.exp(-options["gamma"] * delta)
        out.append(unit(share * unit(weight @ z + bias) + (1 - share) * z))
    return torch.stack(out).view_as(x)


def coupled(values: Mapping[str, Tensor], text: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """MaPLe's image prompts ``(..., M, V)`` of text prompts ``(..., M, D)``, if it has such."""
    out = {}
    for layer, tokens in text.items():
        if (key := f"family.maps.{layer}.weight") in values:
            out[layer] = tokens @ values[key].T + values[f"family.maps.{layer}.bias"]
    return out


def adapted(
    x: Tensor, values: Mapping[str, Tensor], tower: str, options: Mapping[str, Any]
) -> Tensor:
    """CoPrompt's and CLIP-Adapter's mixture, where there is one."""
    if f"adapters.{tower}.down.weight" not in values:
        return x
    hidden = torch.relu(x @ values[f"adapters.{tower}.down.weight"].T)
    new = torch.relu(hidden @ values[f"adapters.{tower}.up.weight"].T)
    share = options[f"{tower}_adapter"]
    return share * new + (1 - share) * x


def cached(
    image_BE: Tensor, values: Mapping[str, Tensor], names: Sequence[str], options: Mapping[str, Any]
) -> Tensor:
    """Tip-Adapter's addition, key by key."""
    out = image_BE.new_zeros(len(image_BE), len(names))
    for key, label in zip(values["keys"], values["labels"], strict=True):
        trained = options["trained_classes"][int(label)]
        hot = torch.tensor([float(name == trained) for name in names]).to(out)
        near = torch.exp(-options["beta"] * (1 - image_BE @ key))
        out = out + options["alpha"] * near[:, None] * hot
    return out


def zero_shot(clip: Clip, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """``(C, E)``: the normalised mean of the templates' normalised features."""
    each = []
    for template in templates:
        texts = [template.replace("{}", name.replace("_", " ")) for name in names]
        each.append(unit(text_features(clip, sentence_rows(clip, texts), {})[0]))
    return unit(torch.stack(each).mean(0))


def sentence_rows(clip: Clip, texts: Sequence[str]) -> list[Row]:
    tokenizer = clip.tokenizer
    return [[tokenizer.sot, *tokenizer.encode(text), tokenizer.eot] for text in texts]


def class_rows(learner: Learner, names: Sequence[str]) -> list[Row]:
    """``[SOT, ctx, name, ".", EOT]`` of every class, at the learner's position."""
    tokenizer, config = learner.clip.tokenizer, learner.config()
    count, words = config["num_ctx"], config.get("ctx_init", getattr(learner, "ctx_init", None))
    fixed = tokenizer.encode(words)[count:] if words else []
    ctx, dot, out = [-1 - i for i in range(count)], tokenizer.encode("."), []
    for raw in names:
        name = tokenizer.encode(raw.replace("_", " "))
        body = {
            "end": [*ctx, *fixed, *name, *dot],
            "middle": [*ctx[: count // 2], *name, *ctx[count // 2 :], *dot],
            "front": [*name, *ctx, *dot],
        }[config.get("position", "end")]
        out.append([tokenizer.sot, *body, tokenizer.eot])
    return out


def text_features(clip: Clip, rows: Sequence[Row], prompts: Mapping[int, Tensor]) -> Tensor:
    """``(B, C, E)`` over the whole context; prompts are ``(B|1, C|1, M, D)``."""
    tower, size = clip.text, clip.config.text.context_length
    batch = max((p.shape[0] for p in prompts.values()), default=1)
    ids = torch.tensor([row + [clip.config.text.pad] * (size - len(row)) for row in rows])
    places = [[row.index(-1 - i) for i in range(-min(0, *row))] for row in rows]
    mask = torch.full((size, size), -math.inf, dtype=clip.logit_scale.dtype).triu(1)

    def put(x_BCSD: Tensor, prompt: Tensor | None) -> Tensor:
        if prompt is None:
            return x_BCSD
        tokens = prompt.to(x_BCSD.dtype).expand(batch, len(rows), -1, -1)
        out = [list(x.unbind(1)) for x in x_BCSD.unbind(1)]
        for c, at in enumerate(places):
            for i, position in enumerate(at):
                out[c][position] = tokens[:, c, i]
        return torch.stack([torch.stack(x, 1) for x in out], 1)

    x = tower.token_embedding.weight[ids.clamp(min=0)].expand(batch, -1, -1, -1)
    x = put(x, prompts.get(0)) + tower.positions[:size]
    for layer, layer_block in enumerate(tower.blocks):
        if layer:
            x = put(x, prompts.get(layer))
        x = block(layer_block, clip.config.text.activation, x, mask)
    ends = torch.stack([x[:, c, len(row) - 1] for c, row in enumerate(rows)], 1)
    return norm(tower.ln_final, ends) @ tower.projection.weight.T


def image_features(clip: Clip, pixels: Tensor | None, prompts: Mapping[int, Tensor]) -> Tensor:
    """``(B, E)``; prompts ``(B|1, L, D)`` stand behind the patches."""
    assert pixels is not None
    tower, patch = clip.vision, clip.config.vision.patch_size
    grid = tower.stem(pixels)
    patches = nn.functional.unfold(grid, patch, stride=patch).transpose(1, 2)
    x = patches @ tower.patch_embedding.weight.flatten(1).T
    batch, count = x.shape[0], x.shape[1] + 1
    x = torch.cat([tower.class_embedding.expand(batch, 1, -1), x], 1) + tower.positions
    for layer, layer_block in enumerate(tower.blocks):
        if layer in prompts:
            tokens = prompts[layer].to(x.dtype).expand(batch, -1, -1)
            x = torch.cat([x[:, :count], tokens], 1)
        if layer == 0:
            x = norm(tower.ln_pre, x)
        x = block(layer_block, clip.config.vision.activation, x, 0.0)
    return norm(tower.ln_post, x[:, 0]) @ tower.projection.weight.T


def block(module: nn.Module, activation: str, x: Tensor, mask: Tensor | float) -> Tensor:
    """Pre-norm attention and MLP by their formulas, head by head."""
    assert isinstance(module, Block)
    attention, width = module.attn, x.shape[-1]
    qkv = norm(module.ln_1, x) @ attention.qkv.weight.T + attention.qkv.bias
    q, k, v = qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
    size, mixed = width // attention.heads, []
    for start in range(0, width, size):
        at = slice(start, start + size)
        scores = q[..., at] @ k[..., at].transpose(-2, -1) / math.sqrt(size) + mask
        mixed.append(scores.softmax(-1) @ v[..., at])
    x = x + torch.cat(mixed, -1) @ attention.out.weight.T + attention.out.bias
    hidden = norm(module.ln_2, x) @ module.fc1.weight.T + module.fc1.bias
    return x + act(activation, hidden) @ module.fc2.weight.T + module.fc2.bias


def act(name: str, x: Tensor) -> Tensor:
    if name == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    if name == "gelu":
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + layer.eps).sqrt() * layer.weight + layer.bias


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()


def slot_slices(slots: Sequence[Slot]) -> dict[str, slice]:
    """Where each slot lies in the flat vector."""
    out, start = {}, 0
    for slot in slots:
        out[slot.name] = slice(start, start + slot.size)
        start += slot.size
    return out
