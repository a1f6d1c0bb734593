"""Deep prompts: tokens that enter a tower and replace the same tokens' states at deeper layers.

Two families. *Independent*: each tower has its own (VPT, arXiv 2203.12119; deep language prompting;
IVLP and PromptSRC, arXiv 2307.06948). *Coupled*: the image tower's are linear functions of the text
tower's (MaPLe, arXiv 2210.03117, eq. 6-8).

Legend: B image, M text token, L vision token, D width of the text tower, V of the image tower.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from diffuprompt.clip import Clip
from diffuprompt.learners.base import initial_context, linear
from diffuprompt.learners.prompt_options import PromptOptions
from diffuprompt.prompts import Prompts, PromptSpec, Slot, Tower, TowerPrompts

STD = 0.02


class IndependentPrompts(nn.Module):
    """Tokens ``text.l`` ``(M, D)`` and ``vision.l`` ``(L, V)``; source prompts are what enters."""

    def __init__(
        self, clip: Clip, options: PromptOptions, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        length, depth = options.vision
        width = clip.config.vision.width
        self.text = nn.ParameterList(_text_tokens(clip, options, generator))
        self.vision = nn.ParameterList(_tokens(length, width, generator) for _ in range(depth))

    @property
    def spec(self) -> PromptSpec:
        """The text tower's slots, then the image tower's."""
        return PromptSpec((*_slots("text", self.text), *_slots("vision", self.vision)))

    def source(self) -> dict[str, Tensor]:
        """Return the tokens with the axes of images and classes."""
        text = {f"text.{layer}": p[None, None] for layer, p in enumerate(self.text)}
        return text | {f"vision.{layer}": p[None] for layer, p in enumerate(self.vision)}

    def render(self, prompts: Prompts) -> TowerPrompts:
        """Every slot enters its tower as it is."""
        return _as_they_are(self.spec, prompts)


class CoupledPrompts(nn.Module):
    """Tokens ``text.l`` ``(M, D)`` and one linear map per layer from D to V.

    Source prompts are the text tower's tokens, and the maps are part of rendering; with ``free`` =
    "both" the mapped tokens are source prompts too, so that each can be generated.
    """

    def __init__(
        self, clip: Clip, options: PromptOptions, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.free = options.free
        width, out = clip.config.text.width, clip.config.vision.width
        self.text = nn.ParameterList(_text_tokens(clip, options, generator))
        self.maps = nn.ModuleList([linear(width, out, generator)])
        if options.depth > 1:  # as in the authors' code: all deeper maps start as copies of one
            deep = linear(width, out, generator)
            self.maps.extend(copy.deepcopy(deep) for _ in range(options.depth - 1))

    @property
    def spec(self) -> PromptSpec:
        """The text tower's slots, and the image tower's where they are free."""
        text = _slots("text", self.text)
        if self.free == "text":
            return PromptSpec(text)
        vision = [
            Slot(
                name=f"vision.{layer}",
                tower="vision",
                layer=layer,
                length=len(self.text[layer]),
                width=self._map(layer).out_features,
            )
            for layer in range(len(self.maps))
        ]
        return PromptSpec((*text, *vision))

    def source(self) -> dict[str, Tensor]:
        """Return the tokens with the axes of images and classes."""
        text = {f"text.{layer}": p[None, None] for layer, p in enumerate(self.text)}
        return text if self.free == "text" else text | self._mapped(Prompts(text))

    def render(self, prompts: Prompts) -> TowerPrompts:
        """Add the image tower's tokens, ``(B|1, M, V)`` of ``(B|1, 1, M, D)``."""
        if self.free == "both":
            return _as_they_are(self.spec, prompts)
        text = {layer: prompts[f"text.{layer}"] for layer in range(len(self.maps))}
        mapped = self._mapped(prompts)
        return TowerPrompts(text, {layer: mapped[f"vision.{layer}"] for layer in text})

    def _mapped(self, prompts: Prompts) -> dict[str, Tensor]:
        out = {}
        for layer in range(len(self.maps)):
            apply, tokens = self._map(layer), prompts[f"text.{layer}"][:, 0]
            # contiguous: else torch multiplies another way where gradients are asked for
            out[f"vision.{layer}"] = apply(tokens.to(apply.weight.dtype).contiguous())
        return out

    def _map(self, layer: int) -> nn.Linear:
        apply = self.maps[layer]
        assert isinstance(apply, nn.Linear)
        return apply


def build_prompts(
    clip: Clip, options: PromptOptions, generator: torch.Generator | None
) -> IndependentPrompts | CoupledPrompts:
    """Build the family that ``options`` name."""
    kind = CoupledPrompts if options.prompts == "coupled" else IndependentPrompts
    return kind(clip, options, generator)


def _text_tokens(
    clip: Clip, options: PromptOptions, generator: torch.Generator | None
) -> list[nn.Parameter]:
    if not options.num_ctx:
        return []
    first = initial_context(clip, options.num_ctx, options.ctx_init, generator, zeros=options.zeros)
    width, deeper = clip.config.text.width, options.depth - 1
    return [
        nn.Parameter(first),
        *(_tokens(options.num_ctx, width, generator) for _ in range(deeper)),
    ]


def _tokens(length: int, width: int, generator: torch.Generator | None) -> nn.Parameter:
    return nn.Parameter(torch.randn(length, width, generator=generator) * STD)


def _slots(tower: Tower, tokens: nn.ParameterList) -> tuple[Slot, ...]:
    return tuple(
        Slot(name=f"{tower}.{layer}", tower=tower, layer=layer, length=p.shape[0], width=p.shape[1])
        for layer, p in enumerate(tokens)
    )


def _as_they_are(spec: PromptSpec, prompts: Prompts) -> TowerPrompts:
    towers: dict[Tower, dict[int, Tensor]] = {"text": {}, "vision": {}}
    for slot in spec.slots:
        towers[slot.tower][slot.layer] = prompts[slot.name]
    return TowerPrompts(towers["text"], towers["vision"])
