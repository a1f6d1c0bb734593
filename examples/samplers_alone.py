"""Compare samplers of diffusion with the exact flow, where the answer is known; no CLIP in sight.

    python examples/samplers_alone.py

The data are a mixture of two Gaussians, whose denoiser E[x0 | x] has a closed form, and whose
probability flow keeps the order of points: it carries the q-quantile of the noisy distribution to
the q-quantile of the clean one. The table shows the root mean square distance between where a
sampler ends and where that flow does, by evaluations of the denoiser.
"""

import torch
from torch import Tensor

from diffuprompt.diffusion import Counted, get_sampler, make_grid, make_schedule

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS, STD = torch.tensor([-1.0, 1.5], dtype=torch.float64), 0.4
START = 80.0  # sigma at which sampling starts: x = x0 + sigma * eps
SAMPLERS = ("euler", "dpmpp_2m", "dpmpp_3m", "unipc2", "unipc3")
COUNTS = (3, 5, 10, 20)  # evaluations of the denoiser


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] of the mixture: each component's answer, weighed by its probability given x."""
    total = STD**2 + sigma**2
    off = x[..., None] - MEANS
    weight = (WEIGHTS.log() - off**2 / (2 * total)).softmax(-1)
    return (weight * (MEANS + STD**2 / total * off)).sum(-1)


def quantiles(q: Tensor, sigma: float) -> Tensor:
    """Where the noisy mixture has quantiles ``q``, by bisection."""
    scale = (STD**2 + sigma**2) ** 0.5
    low, high = torch.full_like(q, -10 * (1 + sigma)), torch.full_like(q, 10 * (1 + sigma))
    for _ in range(60):
        x = (low + high) / 2
        below = (WEIGHTS * torch.special.ndtr((x[..., None] - MEANS) / scale)).sum(-1) < q
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return (low + high) / 2


def main() -> None:
    """Print one row per sampler."""
    q = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    start, exact = quantiles(q, START), quantiles(q, 0.0)
    print(f"{'evaluations':<12}" + "".join(f"{n:>10}" for n in COUNTS))
    for name in SAMPLERS:
        row = f"{name:<12}"
        for nfe in COUNTS:
            counted = Counted(denoise)
            sigmas = make_grid(
                "log_snr", nfe, make_schedule("linear"), sigma_max=START
            )  # and a final 0
            end = get_sampler(name)(counted, start, sigmas)
            assert counted.nfe == nfe
            row += f"{float((end - exact).square().mean().sqrt()):>10.4f}"
        print(row)


if __name__ == "__main__":
    main()
