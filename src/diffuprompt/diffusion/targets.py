"""Named conversions between what a network may predict and x0, all in VE coordinates.

``x = x0 + sigma * eps`` is the state and ``alpha = 1 / sqrt(1 + sigma^2)`` the weight of x0 in the
variance-preserving state. ``sigma`` is a scalar or ``(B,)`` against ``x`` of ``(B, ...)``.
Conversions from x0 to eps, v, edm or flow divide by sigma, which must be positive there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Prediction = Literal["x0", "eps", "v", "edm", "flow"]
Conversion = Callable[[Tensor, Tensor, Tensor], Tensor]


def per_row(sigma: Tensor, x: Tensor) -> Tensor:
    """Reshape ``sigma``, scalar or ``(B,)``, so that it broadcasts over ``x`` ``(B, ...)``."""
    return sigma.reshape(-1, *[1] * (x.ndim - 1)) if sigma.ndim else sigma


def ve_to_vp(x: Tensor, sigma: Tensor) -> Tensor:
    """Return the unit-variance state ``sqrt(ab) x0 + sqrt(1 - ab) eps`` of the VE state ``x``."""
    return x / (1 + per_row(sigma, x).square()).sqrt()


def vp_to_ve(x_vp: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `ve_to_vp`."""
    return x_vp * (1 + per_row(sigma, x_vp).square()).sqrt()


def ve_to_flow(x: Tensor, sigma: Tensor) -> Tensor:
    """Return ``(1 - u) x0 + u eps`` with ``u = sigma / (1 + sigma)`` (arXiv 2210.02747)."""
    return x / (1 + per_row(sigma, x))


def flow_to_ve(x_flow: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `ve_to_flow`."""
    return x_flow * (1 + per_row(sigma, x_flow))


def x0_from_eps(eps: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Return x0 of predicted noise (Ho et al. 2020, arXiv 2006.11239, eq. 9)."""
    return x - per_row(sigma, x) * eps


def eps_from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `x0_from_eps`; also dx/dsigma of the probability-flow ODE."""
    return (x - x0) / per_row(sigma, x)


def x0_from_v(v: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Return x0 of ``v = alpha (eps - sigma x0)`` (Salimans and Ho 2022, arXiv 2202.00512)."""
    s = per_row(sigma, x)
    return (x / (1 + s.square()).sqrt() - s * v) / (1 + s.square()).sqrt()


def v_from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `x0_from_v`."""
    s = per_row(sigma, x)
    return (eps_from_x0(x0, x, sigma) - s * x0) / (1 + s.square()).sqrt()


def x0_from_edm(raw: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Return x0 of a preconditioned output (Karras et al. 2022, arXiv 2206.00364, table 1).

    The standard deviation of the data is 1: targets are normalised before diffusion.
    """
    s = per_row(sigma, x)
    return x / (1 + s.square()) + s / (1 + s.square()).sqrt() * raw


def edm_from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `x0_from_edm`."""
    s = per_row(sigma, x)
    return (x0 - x / (1 + s.square())) * (1 + s.square()).sqrt() / s


def x0_from_flow(velocity: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Return x0 of the straight-path velocity ``eps - x0`` (Liu et al. 2022, arXiv 2209.03003)."""
    s = per_row(sigma, x)
    return (x - s * velocity) / (1 + s)


def flow_from_x0(x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `x0_from_flow`."""
    return eps_from_x0(x0, x, sigma) - x0


def _same(value: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return value


TO_X0: dict[Prediction, Conversion] = {
    "x0": _same,
    "eps": x0_from_eps,
    "v": x0_from_v,
    "edm": x0_from_edm,
    "flow": x0_from_flow,
}
"""Prediction name -> ``f(predicted, x, sigma) -> x0``."""

FROM_X0: dict[Prediction, Conversion] = {
    "x0": _same,
    "eps": eps_from_x0,
    "v": v_from_x0,
    "edm": edm_from_x0,
    "flow": flow_from_x0,
}
"""Prediction name -> ``f(x0, x, sigma) -> predicted``, the inverses of `TO_X0`."""
