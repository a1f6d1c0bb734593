"""Modules that start from a generator of the caller's, never from the global one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from diffuprompt.checkpoints import unfilled

Made = TypeVar("Made", bound=nn.Module)


def built(make: Callable[[], Made], generator: torch.Generator) -> Made:
    """Return ``make()`` on the CPU with torch's own default weights, drawn from ``generator``.

    Its parameters are built without memory first, so that nothing draws from the global generator.
    Linear and convolution: U(-b, b), b = 1/sqrt(fan-in), biases too; norms: 1 and 0; embeddings
    N(0, 1). A submodule that has ``reset(generator)`` then does what it wants otherwise.

    Raises:
        TypeError: a parameter belongs to a module of another kind without ``reset``.
    """
    with unfilled():
        module = make()
    module.to_empty(device="cpu")
    with torch.no_grad():
        for part in module.modules():
            _fill(part, generator)
        for part in reversed(list(module.modules())):  # a whole has the last word on its parts
            reset: Callable[[torch.Generator], None] | None = getattr(part, "reset", None)
            if reset is not None:
                reset(generator)
    return module


def _fill(part: nn.Module, generator: torch.Generator) -> None:
    own = list(part.parameters(recurse=False))
    if isinstance(part, nn.Linear | nn.Conv2d):
        bound = part.weight[0].numel() ** -0.5
        for parameter in own:
            parameter.uniform_(-bound, bound, generator=generator)
    elif isinstance(part, nn.Embedding):
        part.weight.normal_(generator=generator)
    elif isinstance(part, nn.LayerNorm | nn.GroupNorm):
        if part.elementwise_affine if isinstance(part, nn.LayerNorm) else part.affine:
            part.weight.fill_(1)
            if part.bias is not None:
                part.bias.zero_()
    elif own and not hasattr(part, "reset"):
        raise TypeError(f"{type(part).__name__}: no rule for its initial weights")
