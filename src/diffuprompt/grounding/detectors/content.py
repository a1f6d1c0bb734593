"""What a detector's answers depend on, as one hash."""

from __future__ import annotations

from typing import Any

from torch import nn

from diffuprompt.runs import checksum, digest


def content_of(module: nn.Module, *told: Any) -> str:
    """Return thirty-two hex digits over all tensors of a module and over what JSON can hold."""
    return digest([checksum(module.state_dict()), *told])
