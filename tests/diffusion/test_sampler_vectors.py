"""T1-T4: samplers on distributions whose flow is known; T3 vectors from an independent program."""

import math
from functools import partial

import pytest
import torch
from tests.diffusion.worlds import (
    double,
    gaussian_denoiser,
    gaussian_flow,
    mixture_cdf,
    mixture_denoiser,
    mixture_flow,
    reference_vectors,
)

from diffuprompt.diffusion.grids import log_snr
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.samplers_singlestep import dpm_solver_2, heun
from diffuprompt.diffusion.sampling import Counted
from diffuprompt.diffusion.unipc import unipc

GRID = double(10, 3, 1, 0.3, 0.1)
FULL = {"lower_order_final": False}
S = SAMPLERS
CASES = {  # name in the reference file: (sampler, evaluations, Gaussian, mixture)
    "euler_ddim": (S["euler"], 4, 1.7112891063279798, 1.5095465438798321),
    "heun": (S["heun"], 8, 1.8440222104638608, 1.7709098225785098),
    "dpm_solver_2_midpoint_r0.5": (S["dpm_solver_2"], 8, 1.8080642530205235, 1.680142697606956),
    "dpm_solver_2_r0.3": (
        partial(dpm_solver_2, r=0.3), 8, 1.7932711702711754, 1.6548679113947329,
    ),
    "dpmpp_2s": (S["dpmpp_2s"], 8, 1.7628485541755583, 1.6008899218696675),
    "dpmpp_2m_lower_order_final": (S["dpmpp_2m"], 4, 1.7379888160804677, 1.653016982968299),
    "dpmpp_2m_no_lof": (partial(S["dpmpp_2m"], **FULL), 4, 1.7665725963286658, 1.696858708408407),
    "dpmpp_3m_lower_order_final": (S["dpmpp_3m"], 4, 1.7379888160804677, 1.653016982968299),
    "dpmpp_3m_no_lof": (partial(S["dpmpp_3m"], **FULL), 4, 1.7996493361761514, 1.733141163642027),
    "unipc2_bh2_lof": (S["unipc2"], 4, 1.747721604962528, 1.6583854201370944),
    "unipc2_bh1_lof": (
        partial(unipc, variant="bh1"), 4, 1.7620906387954136, 1.7333797766063284,
    ),
    "unipc3_bh2_lof": (S["unipc3"], 4, 1.747721604962528, 1.6583854201370944),
    "unip2_no_corrector_lof": (
        partial(unipc, corrector=False), 4, 1.7379888160804677, 1.653016982968299,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_t3_vectors_and_evaluations(name):
    sampler, nfe, gauss, mixture = CASES[name]
    for denoise, want in ((gaussian_denoiser(1.5, 0.5), gauss), (mixture_denoiser(), mixture)):
        counted = Counted(denoise)
        got = sampler(counted, double(7.0), GRID)
        # Two fp64 programs of at most 8 evaluations: a few units in the last place.
        assert float(got) == pytest.approx(want, rel=1e-12)
        assert counted.nfe == nfe


def test_t3_literals_are_the_reference_file():
    results = reference_vectors()["vectors_VE"]["results"]
    assert {k for k in results if not k.startswith("amed")} == set(CASES)
    for name, (_, nfe, gauss, mixture) in CASES.items():
        assert results[name] == {"nfe": nfe, "gauss": gauss, "gmm": mixture}


def test_ddim_is_euler():
    x = double(7.0, -2.0)
    a, b = (SAMPLERS[n](mixture_denoiser(), x, GRID) for n in ("ddim", "euler"))
    torch.testing.assert_close(a, b, rtol=1e-13, atol=0)


def _g(u: float, std: float) -> float:
    return u / (std**2 + u**2)


@pytest.mark.parametrize("std", [0.25, 1.0, 2.0])
def test_t1_one_step_factors(std):
    a, b = 3.0, 1.0
    ga, gb, c = _g(a, std), _g(b, std), math.sqrt(a * b)
    factors = {
        "euler": 1 + (b - a) * ga,
        "heun": 1 + (b - a) / 2 * (ga + gb * (1 + (b - a) * ga)),
        "dpm_solver_2": 1 + (b - a) * _g(c, std) * (1 + (c - a) * ga),
    }
    for name, factor in factors.items():
        got = SAMPLERS[name](gaussian_denoiser(0.7, std), double(5.0), double(a, b))
        assert float(got) == pytest.approx(0.7 + 4.3 * factor, rel=1e-13)


def test_t1_coordinates_do_not_mix():
    std = double(0.25, 1.0, 2.0)
    x = double(5.0, -3.0, 1.0)[None]
    for name in ("heun", "dpmpp_2m", "unipc3"):
        together = SAMPLERS[name](gaussian_denoiser(0.7, std), x, GRID)
        for i in range(3):
            one = SAMPLERS[name](gaussian_denoiser(0.7, float(std[i])), x[:, i], GRID)
            torch.testing.assert_close(together[:, i], one, rtol=1e-13, atol=0)


def test_t2_fine_grids_reach_the_exact_flow():
    for x, sigma, want in (
        (3.0, 1.0, 1.2802977258686652),
        (3.0, 0.1, 1.408135070210402),
        (7.0, 0.1, 1.62358896124252),
    ):
        cdf = float(mixture_cdf(double(want), sigma))
        assert float(mixture_cdf(double(x), 10.0)) == pytest.approx(cdf, abs=1e-12)
        # The bisection ends at 1e-14; rounding of F near 1, over the density there, is what is left
        assert float(mixture_flow(double(x), 10.0, sigma)) == pytest.approx(want, abs=1e-12)
        got = S["unipc3"](mixture_denoiser(), double(x), log_snr(512, 10.0, sigma))
        # Order >= 3 with h = ln(100)/511 ~ 0.01: error near h^3 = 1e-6 at worst.
        assert float(got) == pytest.approx(want, abs=1e-6)
    exact = gaussian_flow(double(7.0), 10.0, 0.1, 1.5, 0.5)
    got = heun(gaussian_denoiser(1.5, 0.5), double(7.0), log_snr(2000, 10.0, 0.1))
    # Order 2 with h = 0.0023: error near h^2 = 5e-6.
    assert float(got) == pytest.approx(float(exact), abs=1e-5)


ORDERS = {
    "euler": (S["euler"], 1.0),
    "heun": (S["heun"], 2.0),
    "dpm_solver_2": (S["dpm_solver_2"], 2.0),
    "dpm_solver_2_r.3": (partial(dpm_solver_2, r=0.3), 2.0),
    "dpmpp_2s": (S["dpmpp_2s"], 2.0),
    "dpmpp_2m": (S["dpmpp_2m"], 2.0),
    "dpmpp_3m": (S["dpmpp_3m"], 2.0),
    "unip2": (partial(unipc, corrector=False), 2.0),
    "unipc2": (S["unipc2"], 3.0),
}


def _slope(sampler, intervals: int) -> float:
    errors = [
        abs(float(sampler(mixture_denoiser(), double(7.0), log_snr(n + 1, 10.0, 0.1))) - EXACT)
        for n in (intervals, 2 * intervals)
    ]
    return math.log2(errors[0] / errors[1])


EXACT = 1.62358896124252


@pytest.mark.parametrize("name", list(ORDERS))
def test_t4_observed_order(name):
    sampler, order = ORDERS[name]
    # 0.15: at 128 intervals the next term of the error still bends the slope by up to 0.1.
    assert _slope(sampler, 128) == pytest.approx(order, abs=0.15)


def test_t4_unipc3_beats_order_two():
    # Only a lower bound at 32 -> 64: finer grids meet the 1e-10 accuracy of the exact value.
    assert _slope(S["unipc3"], 32) > 2.8
