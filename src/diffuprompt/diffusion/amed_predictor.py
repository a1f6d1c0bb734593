"""The pairs (r, c_n) of AMED: free scalars, and on top of them what a sample's own look says.

Legend: B row, K features of a look, H hidden features that a network may offer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.diffusion.amed import Look, amed, intervals
from diffuprompt.diffusion.attention import linear
from diffuprompt.diffusion.sampling import Denoise, Generators
from diffuprompt.errors import ConfigError

STATISTICS = 2  # features that every denoiser has
_ROUNDING = 1e-5  # a module in float32 has its grid rounded
_TINY = 1e-12  # keeps the logarithm of an answer of exactly 0 finite


def statistics(x: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """Return ``(B, 2)``: ln RMS of x, and of x0 / x, each against what unit Gaussian data give.

    For data N(0, s^2) the second is ``ln(s^2 (1 + sigma^2) / (s^2 + sigma^2))`` whatever the
    sample, so that the scale of what a sample comes from can be read off at any noise.
    """
    size, answer = (t.flatten(1).square().mean(1) for t in (x, x0))
    ratio = (answer + _TINY * size) / (size + _TINY)
    noise = torch.log1p(sigma**2)
    return torch.stack([(size + _TINY).log() - noise, ratio.log() + 2 * noise], dim=1) / 2


class AmedPredictor(nn.Module):
    """A fitted AMED-Solver, which is a `Sampler`: pairs for one grid, one row at a time.

    ``r = sigmoid(raw)`` and ``c_n = 1 + reach tanh(raw / 2)``, where raw is a free scalar per
    interval plus a small network of the features of the evaluation at the interval's start:
    `statistics`, and behind them the ``(B, H)`` of ``denoise.features(x, sigma) -> (x0, hidden)``
    for a denoiser built with ``hidden`` H. Unfitted all of it is 0: r = 1/2, c_n = 1.

    Deviations from the authors' predictor (arXiv 2312.00094 and its code): one network
    an interval instead of one that is told a and b, since a grid is fitted as a whole; statistics
    instead of a U-Net's bottleneck, so that any denoiser will do; and ``reach`` 0.5 instead of
    0.01, because few steps from large noise need it: on the benchmark's mixture 0.01 leaves twice
    to three times the error. Gradients pass through the features, so that sampling can be
    differentiated exactly.

    ``sigmas`` stays on the host wherever the module goes: it is read as numbers.
    """

    sigmas: Tensor

    def __init__(
        self,
        sigmas: Tensor,
        *,
        afs: bool = True,
        hidden: int = 0,
        width: int = 16,
        reach: float = 0.5,
        generator: torch.Generator,
    ) -> None:
        """Build for the grid ``sigmas``; ``width`` 0 keeps free scalars only.

        Raises:
            ConfigError: a grid that AMED cannot use, or ``reach`` outside [0, 1).
        """
        super().__init__()
        if not 0 <= reach < 1:
            raise ConfigError(f"reach: expected a value in [0, 1), got {reach}")
        self.afs, self.hidden, self.reach = afs, hidden, reach
        count = len(intervals(sigmas))
        self.register_buffer("sigmas", sigmas.double())
        self.raw = nn.Parameter(torch.zeros(count, 2))
        looks = range(int(afs), count if width else 0)  # no evaluation, nothing to read
        self.heads = nn.ModuleDict(
            {str(i): _head(STATISTICS + hidden, width, generator) for i in looks}
        )

    @property
    def nfe(self) -> int:
        """Evaluations of one sample."""
        return 2 * len(self.raw) - int(self.afs)

    def look(self, denoise: Denoise, x: Tensor, sigma: Tensor) -> Look:
        """Evaluate once, and read the features where a network will use them.

        Raises:
            ConfigError: built for hidden features, and this denoiser offers none.
        """
        if not self.reads_hidden:
            return self.seen(x, denoise(x, sigma), sigma)
        features = getattr(denoise, "features", None)
        if features is None:
            raise ConfigError(
                f"denoise: this predictor reads {self.hidden} hidden features, expected a denoiser "
                "with features(x, sigma) -> (x0, hidden); build it with hidden=0 to do without"
            )
        x0, hidden = features(x, sigma)
        told = functional.layer_norm(hidden, hidden.shape[-1:])
        return Look(x0, torch.cat([statistics(x, x0, sigma), told], dim=1))

    @property
    def reads_hidden(self) -> bool:
        """Whether a look needs more of the denoiser than its x0."""
        return bool(self.heads) and self.hidden > 0

    def seen(self, x: Tensor, x0: Tensor, sigma: Tensor) -> Look:
        """Return the look of an evaluation that was made already; not where it `reads_hidden`."""
        assert not self.reads_hidden, "hidden features are read while evaluating"
        return Look(x0, statistics(x, x0, sigma) if self.heads else None)

    def pair(self, interval: int, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return r and c_n of an interval, ``(B,)`` from features, else scalars."""
        raw = self.raw[interval]
        if features is not None:
            raw = raw + self.heads[str(interval)](features)
        return raw[..., 0].sigmoid(), 1 + self.reach * (raw[..., 1] / 2).tanh()

    def forward(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, *, generator: Generators = None
    ) -> Tensor:
        """Sample with `amed`.

        Raises:
            ConfigError: another grid than the one that the pairs belong to.
        """
        own = self.sigmas.double()  # on the host
        same = sigmas.shape == own.shape and torch.allclose(sigmas.to(own), own, rtol=_ROUNDING)
        if not same:
            raise ConfigError(
                f"sigmas: these pairs were fitted for the grid {self.sigmas.tolist()}, got "
                f"{sigmas.tolist()}; fit AMED again for another grid or number of evaluations"
            )
        return amed(denoise, x, sigmas, pairs=self, afs=self.afs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert all but the grid, which is only converted, where a type is asked for."""
        grid = self._buffers.pop("sigmas")
        assert grid is not None
        try:
            super()._apply(fn, recurse)
        finally:
            asked = fn(torch.zeros((), dtype=torch.float16)).dtype  # no one asks for this one
            self.register_buffer("sigmas", grid if asked == torch.float16 else grid.to(asked))
        return self


def _head(features: int, width: int, generator: torch.Generator) -> nn.Sequential:
    """Return a network that starts at 0; its first layer is drawn, so that gradients differ."""
    first, last = linear(features, width), linear(width, 2)
    with torch.no_grad():
        first.weight.normal_(0, features**-0.5, generator=generator)
        first.bias.normal_(0, 1, generator=generator)  # SiLUs that bend at different places
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(first, nn.SiLU(), last)
