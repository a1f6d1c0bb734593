"""The spectrum of V* - V0: in how few directions overfitting moves prompts (reference 5.8).

Legend: F flat, N image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROWS = 2048  # evenly spaced images that are used: their Gram matrix is decomposed


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """Singular values of the ``(images, coordinates)`` matrix of V* - V0, in descending order.

    ``mean_share`` is the mean's share of the energy |V* - V0|^2: what is the same for all images,
    and what no model conditioned on the image is needed for.
    """

    values: Tensor
    images: int
    coordinates: int
    mean_share: float

    def energy(self, rank: int) -> float:
        """Return the share of |V* - V0|^2 in the best subspace of ``rank`` directions."""
        energy = self.values.square()
        return float(energy[:rank].sum() / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny))

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the singular values' shares (Roy and Vetterli 2007)."""
        share = self.values / self.values.sum().clamp_min(torch.finfo(self.values.dtype).tiny)
        return float(torch.special.entr(share).sum().exp())

    def statistics(self) -> dict[str, float]:
        """Return numbers for the record; ranks beyond the matrix's hold all its energy."""
        return {
            **{f"overfit_energy_rank_{rank}": self.energy(rank) for rank in RANKS},
            "overfit_effective_rank": self.effective_rank,
            "overfit_mean_share": self.mean_share,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything, singular values to six digits and only the first 256."""
        return {
            "images": self.images,
            "coordinates": self.coordinates,
            **{k.removeprefix("overfit_"): v for k, v in self.statistics().items()},
            "singular_values": [float(f"{v:.6g}") for v in self.values[: RANKS[-1]].tolist()],
        }


@torch.no_grad()
def measure(initial_NF: Tensor, target_NF: Tensor) -> Spectrum:
    """Return the spectrum of ``target - initial``, of at most 2,048 evenly spaced images."""
    count, size = initial_NF.shape
    at = torch.linspace(0, count - 1, min(ROWS, count)).round().long().to(initial_NF.device)
    residual = (target_NF[at] - initial_NF[at]).cpu().double()  # accelerators may have no float64
    gram = residual @ residual.T if len(at) <= size else residual.T @ residual
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
    whole = residual.square().sum().clamp_min(torch.finfo(residual.dtype).tiny)
    mean_share = float(residual.mean(0).square().sum() * len(at) / whole)
    return Spectrum(values=values, images=len(at), coordinates=size, mean_share=mean_share)
