"""Toy problems with known answers, and small networks that learn them in a second."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.config import DiffusionConfig, FitConfig
from diffuprompt.generators.descent import Logits, Problem
from diffuprompt.generators.kinds import KINDS
from diffuprompt.generators.prompt_diffusion import PromptDiffusion
from diffuprompt.generators.registry import build_generator
from diffuprompt.generators.types import PromptPairs
from diffuprompt.prompts import PromptSpec, Slot

SPEC = PromptSpec((Slot(name="text.0", tower="text", layer=0, length=2, width=6),))
BOTH = PromptSpec(
    (
        Slot(name="text.0", tower="text", layer=0, length=2, width=6),
        Slot(name="vision.0", tower="vision", layer=0, length=1, width=10),
        Slot(name="text.1", tower="text", layer=1, length=1, width=6),
    )
)
FEATURES = 8


def randn(*shape: int, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """Seeded normal numbers of one name."""
    return torch.randn(*shape, generator=torch_stream(0, "toy", name)).to(dtype)


def softmax_problem(count: int = 7, width: int = 5, classes: int = 4, size: float = 1.0) -> Any:
    """Convex: ``logits = flat @ W_i + b_i``, another map for every image."""
    weight = size * randn(count, width, classes, name="weight")
    bias = randn(count, classes, name="bias")

    def logits(flat: Tensor, index: Tensor) -> Tensor:
        return torch.einsum("bf,bfc->bc", flat, weight[index]) + bias[index]

    labels = torch.arange(count) % classes
    return logits, 0.5 * randn(count, width, name="initial"), labels


def bowl_problem(count: int = 7, width: int = 5, classes: int = 4, size: float = 1.0) -> Any:
    """A bowl for each image: its own logit is ``-size |flat - a_i|^2``, the others are 0.

    Rates far above ``1 / size`` jump out of it.
    """
    centre = randn(count, width, name="centre")
    labels = torch.arange(count) % classes

    def logits(flat: Tensor, index: Tensor) -> Tensor:
        out = -size * (flat - centre[index]).square().sum(-1)
        return out[:, None] * torch.eye(classes, dtype=flat.dtype)[labels[index]]

    return logits, 0.5 * randn(count, width, name="initial"), labels


def quadratic_problem(count: int = 7, width: int = 5, classes: int = 4) -> Any:
    """``logits_c = -|flat - a_ic|^2 / 2``: classes are points, other ones for every image."""
    points = randn(count, classes, width, name="points")

    def logits(flat: Tensor, index: Tensor) -> Tensor:
        return -(flat[:, None] - points[index]).square().sum(-1) / 2

    labels = torch.arange(count) % classes
    return logits, 0.5 * randn(count, width, name="initial"), labels


def problem_of(given: Any, lists: Tensor | None = None) -> Problem:
    """What the functions above give, as overfitting takes it."""
    logits, initial, labels = given

    def listed(flat: Tensor, index: Tensor, classes: Tensor | None = None) -> Tensor:
        out = logits(flat, index)
        return out if classes is None else out[:, classes]

    return Problem(logits=listed, initial=initial, labels=labels, lists=lists)


class Counting:
    """Logits that remember which images they were asked for."""

    def __init__(self, logits: Logits) -> None:
        self.logits = logits
        self.asked: list[list[int]] = []

    def __call__(self, flat: Tensor, index: Tensor, *classes: Tensor) -> Tensor:
        self.asked.append(index.tolist())
        return self.logits(flat, index, *classes)


def linear_pairs(count: int, spec: PromptSpec = SPEC, dtype: torch.dtype = torch.float32) -> Any:
    """V* minus V0 is a linear function of the feature's direction, of size 0.05."""
    features = randn(count, FEATURES, name="features", dtype=dtype)
    initial = randn(count, spec.size, name="own", dtype=dtype)
    matrix = randn(FEATURES, spec.size, name="matrix", dtype=dtype)
    unit = features / features.norm(dim=1, keepdim=True)
    return PromptPairs(features, initial, initial + 0.05 * unit @ matrix)


def part(pairs: PromptPairs, at: slice) -> PromptPairs:
    """Some of the pairs."""
    return PromptPairs(pairs.features[at], pairs.initial[at], pairs.target[at])


def never(flat: Tensor, index: Tensor) -> Tensor:
    """A task loss that must not be asked."""
    raise AssertionError("the task loss must not be asked")


def make(spec: PromptSpec = SPEC, *, seed: int = 0, **config: Any) -> PromptDiffusion:
    """An untrained generator that trains briefly."""
    settings: dict[str, Any] = {"epochs": 2, "batch": 4, "lr": 5e-3, "ce_weight": 1.0, **config}
    fitting = {k: settings.pop(k) for k in list(settings) if k in FitConfig.__dataclass_fields__}
    own = DiffusionConfig(**settings)
    return PromptDiffusion(spec, FEATURES, own, FitConfig(**fitting), seed=seed)


def make_any(
    name: str, spec: PromptSpec = SPEC, *, seed: int = 0, width: int = FEATURES, **config: Any
) -> PromptGenerator:
    """An untrained generator of any kind that trains briefly, with its kind's own defaults."""
    kind = KINDS[name]
    fitting: dict[str, Any] = {"epochs": 2, "batch": 4, "lr": 5e-3, "ce_weight": 1.0}
    fitting |= kind.defaults.get("fit", {})
    own: dict[str, Any] = dict(kind.defaults.get(kind.section, {}))
    for key, value in config.items():
        (fitting if key in FitConfig.__dataclass_fields__ else own)[key] = value
    return build_generator(name, spec, width, kind.config(**own), FitConfig(**fitting), seed=seed)


def moved(spec: PromptSpec = SPEC, **config: Any) -> PromptDiffusion:
    """A generator in float64 with random weights everywhere, which answers by feature and time."""
    generator = make(spec, **config).double().eval()
    stream = torch_stream(1, "moved")
    with torch.no_grad():
        for p in generator.network.parameters():
            p += 0.15 * torch.randn(p.shape, generator=stream)
        generator.normaliser.scale.fill_(0.1)
    return generator.requires_grad_(False)


def bits(generator: PromptGenerator) -> dict[str, bytes]:
    """Everything that is saved, bit for bit."""
    return {k: t.numpy().tobytes() for k, t in generator.state_dict().items()}
