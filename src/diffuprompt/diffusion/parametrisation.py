"""What a network sees and predicts: every way is one ``denoise(x, sigma) -> x0`` for samplers.

A parametrisation scales the VE state, tells the network the time, turns its output into x0, and
says how much an error of x0 weighs when the loss is a plain mean square on what is predicted.
"v" and "edm" predict the same up to the sign for data of standard deviation 1; they differ in the
time that the network is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.diffusion.schedule import Schedule, widened
from diffuprompt.diffusion.targets import TO_X0, Conversion, Prediction, ve_to_flow, ve_to_vp
from diffuprompt.errors import ConfigError, near_miss

WEIGHTS = ("unit", "min_snr")
MAX_SNR = 5.0  # gamma of Hang et al. 2023


@dataclass(frozen=True)
class Parametrisation:
    """One way to ask a network.

    ``state(x, sigma)`` is what the network sees, ``time(sigma, schedule)`` its time (in
    float64 on the host, see `widened`), ``to_x0(raw, x, sigma)`` its answer as x0, and
    ``weight(sigma)`` makes a squared error of x0 one of what is predicted.
    """

    state: Callable[[Tensor, Tensor], Tensor]
    time: Callable[[Tensor, Schedule], Tensor]
    to_x0: Conversion
    weight: Callable[[Tensor], Tensor]


def schedule_time(sigma: Tensor, schedule: Schedule) -> Tensor:
    """Return ``t(sigma) / T`` in [0, 1]; raises `ConfigError` outside the schedule."""
    return schedule.t(sigma) / schedule.steps


def log_time(sigma: Tensor, schedule: Schedule) -> Tensor:
    """Return ``ln(sigma) / 4`` (Karras et al. 2022, arXiv 2206.00364, table 1)."""
    return widened(sigma).log() / 4


def flow_time(sigma: Tensor, schedule: Schedule) -> Tensor:
    """Return ``u = sigma / (1 + sigma)``, the time of the straight path (arXiv 2209.03003)."""
    noise = widened(sigma)
    return noise / (1 + noise)


def _v_weight(sigma: Tensor) -> Tensor:
    return 1 + sigma.square().reciprocal()


PARAMETRISATIONS: dict[Prediction, Parametrisation] = {
    "x0": Parametrisation(ve_to_vp, schedule_time, TO_X0["x0"], torch.ones_like),
    "eps": Parametrisation(
        ve_to_vp, schedule_time, TO_X0["eps"], lambda sigma: sigma.square().reciprocal()
    ),
    "v": Parametrisation(ve_to_vp, schedule_time, TO_X0["v"], _v_weight),
    "edm": Parametrisation(ve_to_vp, log_time, TO_X0["edm"], _v_weight),
    "flow": Parametrisation(
        ve_to_flow, flow_time, TO_X0["flow"], lambda sigma: (1 + sigma.reciprocal()).square()
    ),
}
"""Prediction name -> how its network is asked."""


def get_parametrisation(name: str) -> Parametrisation:
    """Return one of `PARAMETRISATIONS`.

    Raises:
        ConfigError: the name is unknown.
    """
    found = {str(key): value for key, value in PARAMETRISATIONS.items()}
    if name not in found:
        hint = near_miss(name, list(found))
        raise ConfigError(f"prediction: expected one of {sorted(found)}, got {name!r}.{hint}")
    return found[name]


def loss_weight(name: str, prediction: str, sigma: Tensor) -> Tensor:
    """Return the weight ``(B,)`` of squared errors of x0 at noise ``sigma`` ``(B,)``.

    "unit" weighs what is predicted evenly: 1 for x0, and (sigma^2 + 1) / sigma^2 for EDM as in its
    table 1. "min_snr" is ``min(1 / sigma^2, 5)`` whatever is predicted (Hang et al. 2023, arXiv
    2303.09556, section 3.4).

    Raises:
        ConfigError: the name is unknown.
    """
    if name == "min_snr":
        return sigma.square().reciprocal().clamp(max=MAX_SNR)
    if name != "unit":
        hint = near_miss(name, list(WEIGHTS))
        raise ConfigError(f"weight: expected one of {list(WEIGHTS)}, got {name!r}.{hint}")
    return get_parametrisation(prediction).weight(sigma)
