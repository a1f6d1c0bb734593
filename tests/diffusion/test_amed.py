"""T1, T3, T4, T6 and T8 for AMED-Solver with given pairs; features and the predictor's contract."""

from __future__ import annotations

import math

import pytest
import torch
from tests.diffusion.worlds import (
    double,
    gaussian_denoiser,
    gaussian_flow,
    generator,
    mixture_denoiser,
    reference_vectors,
)

from diffuprompt.diffusion.amed import FixedPairs, amed, intervals, plan
from diffuprompt.diffusion.amed_predictor import AmedPredictor, statistics
from diffuprompt.diffusion.grids import log_snr
from diffuprompt.diffusion.samplers import SAMPLERS, get_sampler
from diffuprompt.diffusion.samplers_singlestep import dpm_solver_2
from diffuprompt.diffusion.sampling import Counted
from diffuprompt.errors import ConfigError

GRID = double(10, 3, 1, 0.3, 0.1)
TO_ZERO = log_snr(4, 20.0, 0.05, append_zero=True)
R, C = double(0.4, 0.4, 0.3, 0.2), double(1, 1.005, 0.995, 1.01)
CASES = {  # name in the reference file: (r, c_n, afs, evaluations, Gaussian, mixture)
    "amed_r0.3_c1": (
        double(*[0.3] * 4), double(*[1] * 4), False, 8, 1.7586774466429493, 1.594370572197084,
    ),
    "amed_r(.4,.4,.3,.2)_c(1,1.005,.995,1.01)": (
        R, C, False, 8, 1.7574544432927182, 1.6163667139710818,
    ),
    "amed_same_with_afs_first": (R, C, True, 7, 1.8555997172862846, 1.665788863827517),
}  # fmt: skip


def fixed(r: float, intervals: int) -> FixedPairs:
    return FixedPairs(double(*[r] * intervals), double(*[1.0] * intervals))


def random_predictor(sigmas, *, afs=True, hidden=0) -> AmedPredictor:
    """Pairs that differ by row, as after a fit."""
    found = AmedPredictor(sigmas, afs=afs, hidden=hidden, width=4, generator=generator()).double()
    with torch.no_grad():
        for p in found.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator(1), dtype=torch.float64)
    return found.requires_grad_(False)


@pytest.mark.parametrize("name", list(CASES))
def test_t3_vectors_and_evaluations(name):
    r, c_n, afs, nfe, gauss, mixture = CASES[name]
    for denoise, want in ((gaussian_denoiser(1.5, 0.5), gauss), (mixture_denoiser(), mixture)):
        counted = Counted(denoise)
        got = amed(counted, double(7.0), GRID, pairs=FixedPairs(r, c_n), afs=afs)
        # Two fp64 programs of at most 8 evaluations: a few units in the last place.
        assert float(got) == pytest.approx(want, rel=1e-12)
        assert counted.nfe == nfe


def test_t3_literals_are_the_reference_file():
    results = reference_vectors()["vectors_VE"]["results"]
    assert {k for k in results if k.startswith("amed")} == set(CASES)
    for name, (*_, nfe, gauss, mixture) in CASES.items():
        assert results[name] == {"nfe": nfe, "gauss": gauss, "gmm": mixture}


def test_half_way_with_weight_one_is_dpm_solver_2():
    x = double(7.0, -2.0)
    want = dpm_solver_2(mixture_denoiser(), x, GRID)
    got = amed(mixture_denoiser(), x, GRID, pairs=fixed(0.5, 4), afs=False)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("std", [0.25, 1.0, 2.0])
def test_t1_one_step_and_the_exact_weight(std):
    a, b, r = 3.0, 1.0, 0.35
    c = b**r * a ** (1 - r)
    slope = c / (std**2 + c**2) * (1 + (c - a) * a / (std**2 + a**2))
    exact_c_n = (math.sqrt((std**2 + b**2) / (std**2 + a**2)) - 1) / ((b - a) * slope)
    for c_n in (1.02, exact_c_n):
        pairs = FixedPairs(double(r), double(c_n))
        got = amed(gaussian_denoiser(0.7, std), double(5.0), double(a, b), pairs=pairs, afs=False)
        assert float(got) == pytest.approx(0.7 + 4.3 * (1 + c_n * (b - a) * slope), rel=1e-13)
    want = gaussian_flow(double(5.0), a, b, 0.7, std)
    assert float(got) == pytest.approx(float(want), rel=1e-13)


@pytest.mark.parametrize(("r", "order"), [(0.3, 1.0), (0.5, 2.0)])
def test_t4_observed_order(r, order):
    def error(n: int) -> float:
        grid = log_snr(n + 1, 10.0, 0.1)
        got = amed(mixture_denoiser(), double(7.0), grid, pairs=fixed(r, n), afs=False)
        return abs(float(got) - 1.62358896124252)

    # 0.15: at 128 intervals the next term of the error still bends the slope by up to 0.1.
    assert math.log2(error(128) / error(256)) == pytest.approx(order, abs=0.15)


def test_t6_closed_form_roots_follow_the_exact_flow():
    key = "amed_closed_form_r (isotropic gaussian mean 0 std 1, c=1, AFS on first interval, 4 time "
    for case in reference_vectors()[key + "points)"].values():
        grid = double(*case["grid"])
        pairs = FixedPairs(double(*case["r"]), double(1, 1, 1))
        got = amed(gaussian_denoiser(0.0, 1.0), grid[:1], grid, pairs=pairs)
        want = gaussian_flow(grid[:1], float(grid[0]), float(grid[-1]), 0.0, 1.0)
        # The roots have five digits, and an interval multiplies r's rounding by at most ln 20 * 1.
        torch.testing.assert_close(got, want, rtol=1e-4, atol=0)


@pytest.mark.parametrize("nfe", range(1, 9))
def test_the_plan_costs_what_it_says(nfe):
    points, afs = plan(nfe)
    grid = log_snr(points, 20.0, 0.05, append_zero=True)
    predictor = AmedPredictor(grid, afs=afs, generator=generator())
    counted = Counted(mixture_denoiser())
    predictor(counted, torch.full((2, 3), 4.0), grid)
    assert counted.nfe == nfe == predictor.nfe
    assert nfe != 5 or (points, afs) == (4, True)  # the paper's setting


def test_a_grid_to_zero_lands_there_in_the_last_interval():
    assert [(i.a, i.b, i.low) for i in intervals(double(9, 3, 1, 0))] == [(9, 3, 3), (3, 0, 1)]
    asked = []

    def denoise(x, sigma):
        asked.append(float(sigma))
        return gaussian_denoiser(0.0, 1.0)(x, sigma)

    amed(denoise, double(5.0), double(9, 3, 1, 0), pairs=fixed(0.5, 2), afs=False)
    assert asked == pytest.approx([9, math.sqrt(27), 3, math.sqrt(3)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_denoiser_that_answers_zero_gives_exactly_zero_unfitted(dtype):
    predictor = AmedPredictor(TO_ZERO, generator=generator()).to(dtype)
    x = 20 * torch.randn(3, 4, 2, 2, generator=generator(), dtype=dtype)
    got = predictor(lambda x, s: torch.zeros_like(x), x, TO_ZERO)
    assert got.dtype == dtype
    assert torch.equal(got, torch.zeros_like(x))


def test_t8_scale_invariance_without_the_analytic_step():
    k, x = 3.7, double(25.0, -12.0)
    plain = amed(gaussian_denoiser(1.5, 0.5), x, GRID, pairs=FixedPairs(R, C), afs=False)
    scaled = amed(
        gaussian_denoiser(1.5 * k, 0.5 * k), k * x, k * GRID, pairs=FixedPairs(R, C), afs=False
    )
    torch.testing.assert_close(scaled, k * plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize("afs", [True, False])
def test_t8_rows_do_not_see_each_other(afs):
    predictor = random_predictor(TO_ZERO, afs=afs)
    x = 20 * torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    together = predictor(mixture_denoiser(), x, TO_ZERO)
    alone = [predictor(mixture_denoiser(), row[None], TO_ZERO) for row in x]
    # float64 rounding, stretched by the mixture's saddle
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-12, atol=1e-12)
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = predictor(mixture_denoiser(), x[order], TO_ZERO)
    torch.testing.assert_close(permuted, together[order], rtol=1e-12, atol=1e-12)
    assert torch.equal(predictor(mixture_denoiser(), x, TO_ZERO), together)
    seen = predictor.look(mixture_denoiser(), x, double(2.0)[0])
    assert predictor.pair(1, seen.features)[0].unique().numel() == 5  # pairs are a row's own


def test_t8_gradients_pass_through_pairs_and_features():
    predictor = random_predictor(TO_ZERO, afs=False)

    def run(x, mu, raw):
        out = torch.func.functional_call(
            predictor, {"raw": raw}, (gaussian_denoiser(mu, 0.5), x, TO_ZERO)
        )
        assert isinstance(out, torch.Tensor)
        return out

    raw = predictor.raw.detach().clone().requires_grad_()
    start = 20 * torch.randn(2, 2, generator=generator(), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        run, (start.requires_grad_(), double(1.5).requires_grad_(), raw)
    )


@pytest.mark.parametrize("std", [0.25, 2.0])
@pytest.mark.parametrize("sigma", [0.5, 12.0])
def test_statistics_tell_the_scale_of_the_data(std, sigma):
    x = torch.randn(4, 6, generator=generator(), dtype=torch.float64)
    x = x / x.square().mean(1, keepdim=True).sqrt() * math.hypot(std, sigma)
    s = double(sigma)[0]
    got = statistics(x, gaussian_denoiser(0.0, std)(x, s), s)
    unit, own = 1 + sigma**2, std**2 + sigma**2
    want = double(0.5 * math.log(own / unit), math.log(std**2 * unit / own))
    # The 1e-12 that keeps ln 0 finite, against the smallest squared ratio here, 1.9e-7.
    torch.testing.assert_close(got, want.expand(4, 2), rtol=0, atol=5e-6)


def test_hidden_features_are_read_where_a_denoiser_offers_them():
    class Offers:
        asked = 0

        def __call__(self, x, sigma):
            self.asked += 1
            return mixture_denoiser()(x, sigma)

        def features(self, x, sigma):
            return self(x, sigma), torch.cat([x[:, :2].sin(), x[:, :1].cos()], dim=1)

    predictor = random_predictor(TO_ZERO, hidden=3)
    x = 20 * torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    offers = Offers()
    got = predictor(offers, x, TO_ZERO)
    assert offers.asked == predictor.nfe == 5  # features cost no evaluation of their own
    assert not torch.equal(got, random_predictor(TO_ZERO)(mixture_denoiser(), x, TO_ZERO))
    with pytest.raises(ConfigError, match=r"features\(x, sigma\)"):
        predictor(mixture_denoiser(), x, TO_ZERO)


def test_errors_say_what_to_do():
    predictor = AmedPredictor(TO_ZERO, generator=generator())
    with pytest.raises(ConfigError, match="fit AMED again"):
        predictor(mixture_denoiser(), torch.ones(2, 3), GRID)
    with pytest.raises(ConfigError, match="two levels above a last 0"):
        AmedPredictor(double(3, 0), generator=generator())
    with pytest.raises(ConfigError, match="reach"):
        AmedPredictor(TO_ZERO, reach=1.0, generator=generator())
    with pytest.raises(ConfigError, match="at least 1"):
        plan(0)
    assert "amed" not in SAMPLERS
    with pytest.raises(ConfigError, match=r"diffusion\.sampler=amed"):
        get_sampler("amed")
    with pytest.raises(ConfigError, match="Did you mean 'amed'"):
        get_sampler("ame")
