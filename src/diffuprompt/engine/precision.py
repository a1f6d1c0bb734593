"""Mixed precision where work repeats: towers that take prompts, and training of generators."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def mixed(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context to run in: autocast to bfloat16, or nothing for "fp32".

    Weights, prompts and their gradients stay in fp32; matrix products are rounded to bfloat16
    (eight bits), which moves logits by about a hundredth of their spread.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
