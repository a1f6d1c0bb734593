"""Measure every sampler against the exact flow, from 3 to 20 evaluations of the denoiser.

    python -m benchmarks.samplers [--json] [--out DIR]

Two worlds whose denoisers are known. Gaussians N(0, s^2): the error of the result's standard
deviation relative to s, started at noise of exactly sigma_max, worst over s = 0.25, 0.5, 1, 2. And
a mixture of two: root mean square distance to where the exact flow ends at 0, relative to the
data's standard deviation.

What is compared. All samplers of a column spend exactly as many evaluations ("regress" always one).
Those that need no fit get, for each cell, the best of all grids, of four start levels (20, 40, 80,
221) and of ending at 0 or at the smallest level, chosen on the very numbers that are shown. AMED
gets no such choice: it runs on the log-SNR grid from 80 to 0 and is fitted once for all scales, on
eight scales none of which is measured and on other noise. On the mixture it is fitted to the
mixture, as to any other network, on other noise. "amed, scalars" is fitted alike but does not see
the sample; "amed, unfitted" is DPM-Solver-2, with the analytic first step where the count is odd,
and counts as needing no fit. AMED's floor of 0.8 % is its teacher's: the answer at the smallest
level is short of s = 0.25 by that. Samplers that draw noise carry a sampling error near 1.6 %, and
there is no flow to compare them with.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.sampler_page import Table, chart
from benchmarks.worlds import gaussian_denoiser, mixture_denoiser, mixture_flow, mixture_std
from diffuprompt.diffusion import (
    GRIDS,
    NEEDS_NOISE,
    SAMPLERS,
    AmedFit,
    AmedPredictor,
    Counted,
    Denoise,
    Sampler,
    fit_amed,
    make_grid,
    make_schedule,
    plan,
)
from diffuprompt.engine import torch_stream, write_text

NFES = (3, 4, 5, 6, 8, 12, 20)
CHECKED, BETWEEN = (0.25, 0.5, 1.0, 2.0), (0.35, 0.7, 1.4)
FITTED = (0.2, 0.3, 0.42, 0.6, 0.85, 1.2, 1.7, 2.4)
SCHEDULE = make_schedule("linear")
STARTS = (20.0, 40.0, 80.0, SCHEDULE.sigma_max)
TWICE = ("heun", "dpm_solver_2", "dpmpp_2s")  # two evaluations per interval, one to 0
AMED, SCALARS, UNFITTED = "amed", "amed, scalars", "amed, unfitted"
ROWS, WIDTH = 16, 128  # of the check, for each scale


@dataclass(frozen=True)
class Setting:
    """A sampler on a grid, and how many evaluations it is meant to spend."""

    run: Sampler
    grid: str
    sigmas: Tensor
    nfe: int


@dataclass(frozen=True)
class Errors:
    """Relative errors of a setting: worst over `CHECKED`, over `BETWEEN`, and on the mixture."""

    checked: float
    between: float
    mixture: float


def settings(name: str, nfe: int) -> Iterator[Setting]:
    """Yield every way of spending ``nfe`` evaluations on a sampler that needs no fit."""
    for grid in GRIDS:
        for start in STARTS:
            if name == UNFITTED:
                sigmas = amed_sigmas(nfe, grid, start)
                yield Setting(predictor(sigmas, nfe, 0), grid, sigmas, nfe)
                continue
            for zero in (True, False):
                points = nfe + 1 - zero
                if name in TWICE:
                    points = (nfe + zero) // 2 + 1 - zero
                    if (nfe + zero) % 2:
                        continue
                sigmas = make_grid(grid, points, SCHEDULE, sigma_max=start, append_zero=zero)
                yield Setting(SAMPLERS[name], grid, sigmas, 1 if name == "regress" else nfe)


def amed_sigmas(nfe: int, grid: str = "log_snr", start: float = 80.0) -> Tensor:
    """Return the grid on which AMED spends ``nfe`` evaluations."""
    return make_grid(grid, plan(nfe)[0], SCHEDULE, sigma_max=start)


def predictor(sigmas: Tensor, nfe: int, width: int) -> AmedPredictor:
    """Return unfitted pairs; ``width`` 0 are scalars."""
    stream = torch_stream(0, "amed", nfe)
    return AmedPredictor(sigmas, afs=plan(nfe)[1], width=width, generator=stream)


def fitted(denoise: Denoise, rows: int, nfe: int, width: int, grid: str = "log_snr") -> Setting:
    """Fit AMED on ``rows`` states of 64 coordinates that no check sees."""
    sigmas = amed_sigmas(nfe, grid)
    pairs = predictor(sigmas, nfe, width)
    x = sigmas[0].float() * torch.randn(rows, 64, generator=torch_stream(0, "fit", nfe))
    # scalars have far to go and no network to upset
    fit_amed(pairs, [(denoise, x)], AmedFit() if width else AmedFit(lr=0.02))
    return Setting(pairs, grid, sigmas, nfe)


def all_scales() -> tuple[Denoise, int]:
    """Return the denoiser of 64 rows, eight for each scale of `FITTED`."""
    std = torch.tensor(FITTED).repeat_interleave(8)[:, None]
    return gaussian_denoiser(0.0, std), len(std)


@cache
def measure_fitted(nfe: int, width: int, grid: str = "log_snr") -> Errors:
    """Return the errors of AMED fitted for ``nfe`` evaluations, once per world."""
    gaussians = measure_gaussians(fitted(*all_scales(), nfe, width, grid))
    return Errors(*gaussians, measure_mixture(fitted(mixture_denoiser(), 16, nfe, width, grid)))


@cache
def noise() -> Tensor:
    """Return noise of mean square exactly 1, so that nothing of it is left in the errors."""
    x = torch.randn(ROWS, WIDTH, generator=torch_stream(0, "check"))
    return x / x.square().mean().sqrt()


@cache
def mixture_end(start: float) -> Tensor:
    """Return where the exact flow carries ``start * noise()``."""
    return mixture_flow(start * noise(), start, 0.0)


@torch.inference_mode()
def measure_gaussians(setting: Setting) -> tuple[float, float]:
    """Return the worst error over `CHECKED` and over `BETWEEN`."""
    scales = torch.tensor(CHECKED + BETWEEN)
    x = float(setting.sigmas[0]) * noise().repeat(len(scales), 1)
    counted = Counted(gaussian_denoiser(0.0, scales.repeat_interleave(ROWS)[:, None]))
    out = setting.run(counted, x, setting.sigmas, generator=torch_stream(0, "way"))
    assert counted.nfe == setting.nfe, "a sampler spent another number of evaluations than planned"
    error = (out.unflatten(0, (-1, ROWS)).square().mean((1, 2)).sqrt() / scales - 1).abs()
    return float(error[: len(CHECKED)].max()), float(error[len(CHECKED) :].max())


@torch.inference_mode()
def measure_mixture(setting: Setting) -> float:
    """Return the relative root mean square distance to the exact flow's end."""
    start = float(setting.sigmas[0])
    out = setting.run(mixture_denoiser(), start * noise(), setting.sigmas)
    return float((out - mixture_end(start)).square().mean().sqrt()) / mixture_std()


def measure(name: str, chosen: Iterable[Setting]) -> Errors:
    """Return the best of each kind of error over settings."""
    every = list(chosen)
    checked, between = min(measure_gaussians(s) for s in every)
    silent = name not in NEEDS_NOISE
    mixture = min(measure_mixture(s) for s in every) if silent else float("nan")
    return Errors(checked, between, mixture)


def main() -> None:
    """Measure, then print and write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="last line is one JSON object")
    parser.add_argument("--out", type=Path, help="folder for samplers.md and samplers.svg")
    args = parser.parse_args()
    torch.set_num_threads(1)
    since = time.perf_counter()
    free = [*SAMPLERS, UNFITTED]
    by_nfe = {name: [measure(name, settings(name, n)) for n in NFES] for name in free}
    by_grid = {
        name: [measure(name, [s for s in settings(name, 5) if s.grid == g]) for g in GRIDS]
        for name in free
    }
    for name, width in ((SCALARS, 0), (AMED, 16)):
        by_nfe[name] = [measure_fitted(n, width) for n in NFES]
    by_grid[AMED] = [measure_fitted(5, 16, g) for g in GRIDS]
    counts = [str(n) for n in NFES]
    tables = [
        Table("Gaussians: worst error of the std (%)", counts, by_nfe, "checked"),
        Table("Mixture: distance to the exact flow (%)", counts, by_nfe, "mixture"),
        Table("Gaussians: the same at 5 evaluations, by grid (%)", list(GRIDS), by_grid, "checked"),
        Table("Mixture: the same at 5 evaluations, by grid (%)", list(GRIDS), by_grid, "mixture"),
    ]
    text = "\n\n".join(t.markdown() for t in tables)
    print(text)
    if args.out:
        write_text(args.out / "samplers.md", text + "\n")
        write_text(args.out / "samplers.svg", chart(NFES, tables[:2], front=[AMED, SCALARS]))
    five = {name: found[NFES.index(5)] for name, found in by_nfe.items()}
    best = min(free, key=lambda name: five[name].checked)
    result = {
        "amed_nfe5_max_std_error": five[AMED].checked,
        "amed_nfe5_max_std_error_between": five[AMED].between,
        "amed_scalars_nfe5_max_std_error": five[SCALARS].checked,
        "best_untrained_nfe5": best,
        "best_untrained_nfe5_max_std_error": five[best].checked,
        "amed_nfe5_mixture_error": five[AMED].mixture,
        "best_untrained_nfe5_mixture_error": min(
            five[name].mixture for name in free if name not in NEEDS_NOISE
        ),
        "seconds": time.perf_counter() - since,
    }
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
