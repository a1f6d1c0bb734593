"""Named random streams: every use of chance has a name, and nothing touches the global state.

``derive(1, "order", epoch)`` and ``derive(1, "noise", epoch)`` are unrelated numbers, so adding a
use of chance somewhere never changes what another one draws.
"""

from __future__ import annotations

import hashlib
import json
import random

import torch


def derive(seed: int, *names: str | int) -> int:
    """Return the seed of the stream ``names`` under ``seed``: an integer in [0, 2**63).

    The first 63 bits of the SHA-256 of the JSON list ``[seed, *names]``; ``1`` and ``"1"`` are
    different names. The value is part of the results' definition and never changes.
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for the stream ``names``; draw on the CPU, then move the tensor.

    Drawing on the CPU gives the same noise on every device.
    """
    return torch.Generator().manual_seed(derive(seed, *names))


def python_stream(seed: int, *names: str | int) -> random.Random:
    """Return a standard-library generator for the stream ``names``."""
    return random.Random(derive(seed, *names))
