"""An exponential moving average of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from diffuprompt.errors import CheckpointError, ConfigError


class Ema:
    """Keeps ``shadow <- d shadow + (1 - d) value`` with ``d = min(decay, (1 + n) / (10 + n))``.

    n counts the updates. The warm-up (TensorFlow's ``num_updates``) forgets the initial weights,
    which would otherwise weigh 0.999^n: more than a quarter after 1,250 steps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float = 0.999) -> None:
        """Start from copies of ``parameters``.

        Raises:
            ConfigError: ``decay`` is not in [0, 1).
        """
        if not 0 <= decay < 1:
            raise ConfigError(f"decay: expected a value in [0, 1), got {decay}")
        self.decay = decay
        self._parameters = list(parameters)
        self._shadow = [p.detach().clone() for p in self._parameters]
        self._updates = 0
        self._inside = False

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the present values; call after every optimiser step."""
        assert not self._inside, "update() inside swapped() would average the averages"
        self._updates += 1
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        for shadow, parameter in zip(self._shadow, self._parameters, strict=True):
            shadow.lerp_(parameter, 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averages into the parameters; restore the values bit for bit on leaving."""
        assert not self._inside, "swapped() does not nest"
        kept = [p.detach().clone() for p in self._parameters]
        self._inside = True
        try:
            self._write(self._shadow)
            yield
        finally:
            self._write(kept)
            self._inside = False

    def state(self) -> dict[str, Any]:
        """Return ``{"updates": int, "shadow": [tensor, ...]}`` for a resume file."""
        return {"updates": self._updates, "shadow": [s.clone() for s in self._shadow]}

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`.

        Raises:
            CheckpointError: the averages belong to other parameters.
        """
        got = [tuple(t.shape) for t in state["shadow"]]
        want = [tuple(s.shape) for s in self._shadow]
        if got != want:
            raise CheckpointError(
                f"EMA state: expected {len(want)} tensors of the network's shapes, got {len(got)} "
                "that differ; the state belongs to another network"
            )
        for shadow, value in zip(self._shadow, state["shadow"], strict=True):
            shadow.copy_(value)
        self._updates = int(state["updates"])

    @torch.no_grad()
    def _write(self, values: Iterable[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
