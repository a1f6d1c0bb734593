"""All methods by name, as the rows of results call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.engine import torch_stream
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.grounding.contract import Detector, Method
from diffuprompt.grounding.methods.batches import tokens_on
from diffuprompt.grounding.methods.clip_adapter import ClipAdapter, ClipAdapterConfig
from diffuprompt.grounding.methods.coop import Coop, CoopConfig
from diffuprompt.grounding.methods.diff_prompt import PIXEL_STRIDE, DiffPrompt, DiffPromptConfig
from diffuprompt.grounding.methods.fedtpg import FedTpg, FedTpgConfig
from diffuprompt.grounding.methods.maple import Maple, MapleConfig
from diffuprompt.grounding.methods.meta_adapter import MetaAdapter, MetaAdapterConfig
from diffuprompt.grounding.methods.residual import AdapterPlus, AdapterPlusConfig, Mma, MmaConfig
from diffuprompt.grounding.methods.s_prompts import SPrompts, SPromptsConfig
from diffuprompt.grounding.methods.settings import Settings, changed
from diffuprompt.grounding.methods.tip_adapter import TipAdapter, TipAdapterConfig
from diffuprompt.grounding.methods.vpt import Vpt, VptConfig
from diffuprompt.grounding.methods.weights import LinearProbe, LinearProbeConfig, Lora, LoraConfig
from diffuprompt.grounding.methods.zero_shot import ZeroShot

FROZEN = "zero-shot"
PAPER_DEPTH, PAPER_LENGTH, PAPER_SIDE, TINY_DEPTH = 9, 8, 224, 6
KAIMING = (2 / (PAPER_LENGTH // 2)) ** 0.5  # the release's initial global prompts: fan-out L / 2


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One row of results.

    Attributes:
        defaults: settings for a detector.
        build: makes it from detector, settings and the stream of initial weights.
        lr: learning rate for small detectors; the paper's is 1e-4 for all.
    """

    defaults: Callable[[Detector], Settings]
    build: Callable[[Detector, Any, torch.Generator], Method]
    lr: float = 2e-3


def make_method(
    name: str, detector: Detector, settings: Mapping[str, Any] | None = None, seed: int = 0
) -> Method:
    """Return a method, not trained; call its `prepare` before training.

    Args:
        name: one of `METHODS`.
        detector: what it adapts.
        settings: what differs from its defaults.
        seed: of its initial weights.

    Raises:
        ConfigError: there is no such method or setting, or it does not fit the detector.
    """
    config = method_settings(name, detector, settings)
    return method_kind(name).build(detector, config, torch_stream(seed, "method", name))


def method_settings(
    name: str, detector: Detector, settings: Mapping[str, Any] | None = None
) -> Settings:
    """Return a method's settings on a detector: its defaults, some of them changed.

    Raises:
        ConfigError: there is no such method or setting.
    """
    return changed(method_kind(name).defaults(detector), settings or {}, method=name)


def method_kind(name: str) -> Kind:
    """Return what is known of a method; raises `ConfigError` for a name that is none."""
    if name not in METHODS:
        known = sorted(METHODS)
        raise ConfigError(
            f"no method {name!r}, expected one of {', '.join(known)}.{near_miss(name, known)}"
        )
    return METHODS[name]


def trainable_parameters(method: Method) -> list[nn.Parameter]:
    """Return what training changes, always in the same order; none for training-free methods."""
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def _simple(kind: Callable[..., Method], defaults: Settings) -> Kind:
    """Return a method that needs a detector's widths alone."""
    return Kind(
        defaults=lambda detector: defaults,
        build=lambda detector, config, init: kind(detector.sites, config, init),
    )


def _diff_prompt(defaults: Callable[[Detector], DiffPromptConfig]) -> Kind:
    return Kind(
        defaults=defaults,
        build=lambda detector, config, init: DiffPrompt(
            detector.sites, config, init, grids=detector.grids
        ),
    )


def _weights(kind: Callable[..., Method], defaults: Settings) -> Kind:
    """Return a method that changes parameters by name."""
    return Kind(
        defaults=lambda detector: defaults,
        build=lambda detector, config, init: kind(
            detector.sites, config, init, frozen=dict(detector.module.named_parameters())
        ),
        lr=1e-3,
    )


def _fedtpg(detector: Detector, config: FedTpgConfig, init: torch.Generator) -> Method:
    return FedTpg(detector.sites, config, init, words_VD=_word_embeddings(detector))


def _clip_adapter(detector: Detector, config: ClipAdapterConfig, init: torch.Generator) -> Method:
    cells = _cells(detector) if config.over == "cells" else []
    return ClipAdapter(detector.sites, config, init, cells=cells)


def _depth(detector: Detector, most: int) -> int:
    return min(most, max(len(detector.sites.visual), len(detector.sites.textual)))


def _tiny(detector: Detector) -> DiffPromptConfig:
    return DiffPromptConfig(depth=_depth(detector, TINY_DEPTH))


def _globals(detector: Detector) -> DiffPromptConfig:
    depth = _depth(detector, TINY_DEPTH)
    return DiffPromptConfig(depth=depth, visual_specific=False, text_specific=False)


def _paper(detector: Detector) -> DiffPromptConfig:
    """Return the paper's form: adapters of latents, depth 9, length 8."""
    return DiffPromptConfig(
        form="latent",
        order="noisy_first",
        depth=_depth(detector, PAPER_DEPTH),
        length=PAPER_LENGTH,
    )


def _released(detector: Detector) -> DiffPromptConfig:
    """Return the release's form at the detector's own resolution, its batch mix-up left out."""
    return DiffPromptConfig(
        form="pixel",
        order="clean_first",
        projection="reshape",
        depth=_depth(detector, PAPER_DEPTH),
        length=PAPER_LENGTH,
        side=max(PIXEL_STRIDE, min(PAPER_SIDE, detector.side) // PIXEL_STRIDE * PIXEL_STRIDE),
        global_std=KAIMING,
        bias_shift=True,
    )


def _word_embeddings(detector: Detector) -> Tensor:
    for name, value in detector.module.named_parameters():
        if name.endswith("word_embeddings.weight"):
            return value
    raise ConfigError(f"fedtpg: the detector {detector.name} has no word_embeddings")


@torch.inference_mode()
def _cells(detector: Detector) -> list[int]:
    """Return how many cells each level has for a picture of the detector's own size."""
    like = next(detector.module.parameters())
    blank = like.new_zeros(1, 3, detector.side, detector.side)
    context = detector.context(blank, tokens_on(detector, ["object"]))
    return [level.shape[2] * level.shape[3] for level in context.levels]


METHODS: dict[str, Kind] = {
    FROZEN: _simple(ZeroShot, Settings()),
    "diff-prompt": _diff_prompt(_tiny),
    "paper": _diff_prompt(_paper),
    "released": _diff_prompt(_released),
    "globals": _diff_prompt(_globals),
    "coop": _simple(Coop, CoopConfig()),
    "vpt": _simple(Vpt, VptConfig()),
    "vfpt": _simple(Vpt, VptConfig(fourier=0.5)),
    "s-prompts": _simple(SPrompts, SPromptsConfig()),
    "maple": _simple(Maple, MapleConfig()),
    "fedtpg": Kind(defaults=lambda detector: FedTpgConfig(), build=_fedtpg),
    "clip-adapter": Kind(defaults=lambda detector: ClipAdapterConfig(), build=_clip_adapter),
    "tip-adapter": _simple(TipAdapter, TipAdapterConfig()),
    "tip-adapter-f": _simple(TipAdapter, TipAdapterConfig(trained=True)),
    "meta-adapter": _simple(MetaAdapter, MetaAdapterConfig()),
    "mma": _simple(Mma, MmaConfig()),
    "linear-probe": _weights(LinearProbe, LinearProbeConfig()),
    "lora": _weights(Lora, LoraConfig()),
    "adapter-plus": _simple(AdapterPlus, AdapterPlusConfig()),
}
