"""T5 (moments of a whole T=100 run) and T8 (invariances, counts, ends, noise, errors)."""

import math

import pytest
import torch
from tests.diffusion.worlds import (
    double,
    gaussian_denoiser,
    generator,
    mixture_denoiser,
    reference_vectors,
)

from diffuprompt.diffusion import sampling
from diffuprompt.diffusion.grids import discrete, log_snr
from diffuprompt.diffusion.samplers import NEEDS_NOISE, SAMPLERS, get_sampler
from diffuprompt.diffusion.samplers_first_order import ddim
from diffuprompt.diffusion.sampling import Counted, draw_noise
from diffuprompt.diffusion.schedule import linear
from diffuprompt.errors import ConfigError

SCHEDULE = linear()
SIGMA_1, SIGMA_100 = SCHEDULE.sigma_min, SCHEDULE.sigma_max
ALL_STEPS = discrete(100, SIGMA_100, SIGMA_1, schedule=SCHEDULE, append_zero=True)
GRID = log_snr(6, 20.0, 0.05, append_zero=True)
DETERMINISTIC = sorted(set(SAMPLERS) - NEEDS_NOISE)


def _trailing(steps: int) -> torch.Tensor:
    last = float(SCHEDULE.sigma(100 / steps))
    return discrete(steps, SIGMA_100, last, schedule=SCHEDULE, append_zero=True)


def _moments(name, std, grid, monkeypatch) -> tuple[float, float]:
    """Mean and variance of the output for x_T ~ N(0, 1) in VP, exactly.

    The denoiser is affine, so the output is affine in x_T and in each step's noise: row 0 gets
    neither, every other row exactly one of them, and the variance is the sum of squared changes.
    """
    rows = len(grid) + 1
    x = torch.zeros(rows, dtype=torch.float64)
    x[1] = math.sqrt(1 + float(grid[0]) ** 2)
    drawn = []

    def one_hot(x, generator):
        drawn.append(None)
        noise = torch.zeros_like(x)
        noise[1 + len(drawn)] = 1
        return noise

    monkeypatch.setattr(sampling, "draw_noise", one_hot)
    out = get_sampler(name)(gaussian_denoiser(1.5, std), x, grid)
    assert len(drawn) == (len(grid) - 2 if name in NEEDS_NOISE else 0)
    return float(out[0]), float((out - out[0]).square().sum())


MOMENTS = {
    "ddpm_small_s0.25": ("ddpm", 0.25, 100, 1.4999980883925461, 0.049979989062679496),
    "ddpm_small_s0.5": ("ddpm", 0.5, 100, 1.4999923535994104, 0.2192278185391393),
    "ddpm_small_s1.0": ("ddpm", 1.0, 100, 1.4999694148653688, 0.9208097488561248),
    "ddpm_large_s0.25": ("ddpm_large", 0.25, 100, 1.4999980883925461, 0.06747077935836433),
    "ddpm_large_s0.5": ("ddpm_large", 0.5, 100, 1.4999923535994104, 0.25777588175652955),
    "ddpm_large_s1.0": ("ddpm_large", 1.0, 100, 1.4999694148653688, 0.9990000000000019),
    "ddim_100_s0.5": ("ddim", 0.5, 100, 1.496709170549997, 0.23605276656533716),
    "ddim_10_trailing_s0.5": ("ddim", 0.5, 10, 1.4974806511089105, 0.13834866536963708),
    "ddim_5_trailing_s0.5 (t idx 99,79,59,39,19)": (
        "ddim", 0.5, 5, 1.498211615285886, 0.06971403862272084,
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", list(MOMENTS))
def test_t5_moments(key, monkeypatch):
    name, std, steps, mean, variance = MOMENTS[key]
    grid = ALL_STEPS if steps == 100 else _trailing(steps)
    got = _moments(name, std, grid, monkeypatch)
    # Both are fp64 recursions of 100 steps from x of size 221: rounding of 1e-16 * 221 * 100.
    assert got == pytest.approx((mean, variance), rel=1e-11)


def test_t5_literals_are_the_reference_file():
    key = "moments_T100 (mean,var of output, x_T~N(0,1), data N(1.5,s^2))"
    assert {k: list(v[3:]) for k, v in MOMENTS.items()} == reference_vectors()[key]


def test_posterior_coefficients_of_one_ddpm_step(monkeypatch):
    # VP coefficients of t -> t-1 as in Ho et al., eq. 7, for t = 2, 50 and 100.
    rows = {
        2: (0.7508179004173503, 0.24918172256420115, 0.0007511935911591084),
        50: (0.03084839246163496, 0.9405466133163652, 0.09861393376964477),
        100: (0.0010097257373315254, 0.894422631544272, 0.19999898047472403),
    }
    monkeypatch.setattr(sampling, "draw_noise", lambda x, g: double(0, 0, 1))
    for t, want in rows.items():
        grid = SCHEDULE.sigma(double(t, t - 1))
        ve, back = (1 + grid.square()).sqrt()  # VP to VE at t, VE to VP at t - 1
        got = SAMPLERS["ddpm"](lambda x, s: double(1, 0, 0), double(0, 1, 0) * ve, grid) / back
        # 1e-10: 1 - ab_t is 1 - 0.999 at t = 1, which costs three to four digits there.
        torch.testing.assert_close(got, double(*want[:2], math.sqrt(want[2])), rtol=1e-10, atol=0)


EVALUATIONS = dict.fromkeys(SAMPLERS, 6) | {"heun": 11, "dpm_solver_2": 11, "dpmpp_2s": 11}


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_evaluations_when_the_grid_ends_at_zero(name):
    counted = Counted(mixture_denoiser())
    SAMPLERS[name](counted, double(4.0), GRID, generator=generator())
    assert counted.nfe == (1 if name == "regress" else EVALUATIONS[name])


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_the_end_of_the_grid_decides_what_is_returned(name):
    """With a final 0 the output is the last x0 that the denoiser gave; this is how an untrained
    network returns its residual base exactly."""
    outputs = []

    def denoise(x, sigma):
        outputs.append(mixture_denoiser()(x, sigma))
        return outputs[-1]

    got = SAMPLERS[name](denoise, double(4.0, -3.0), GRID, generator=generator())
    assert torch.equal(got, outputs[-1])


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_zero_denoiser_gives_zero(name):
    x = torch.randn(3, 5, generator=generator())
    got = SAMPLERS[name](lambda x, s: torch.zeros_like(x), 20 * x, GRID, generator=generator())
    assert torch.equal(got, torch.zeros(3, 5))


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_shape_and_sigma(name, dtype):
    def denoise(x, sigma):
        assert sigma.shape == ()
        assert sigma.dtype == x.dtype == dtype
        return mixture_denoiser()(x, sigma)

    x = 20 * torch.randn(2, 4, 3, 3, generator=generator(), dtype=dtype)
    got = SAMPLERS[name](denoise, x, GRID, generator=generator())
    assert got.dtype == dtype
    assert got.shape == x.shape


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_float32_follows_float64(name):
    x = 20 * torch.randn(64, generator=generator(), dtype=torch.float64)
    exact = SAMPLERS[name](mixture_denoiser(), x, GRID)
    single = SAMPLERS[name](mixture_denoiser(), x.float(), GRID)
    # fp32 keeps 6e-8 of x ~ 60 at the start, 4e-6, and the mixture's saddle stretches it.
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=5e-4)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_rows_are_independent_of_the_batch(name):
    x = 20 * torch.randn(5, 3, generator=generator(), dtype=torch.float64)

    def run(rows):
        seeds = [generator(int(i)) for i in rows]
        return SAMPLERS[name](mixture_denoiser(), x[rows], GRID, generator=seeds)

    together = run(torch.arange(5))
    order = torch.tensor([3, 0, 4, 1, 2])
    # Element-wise arithmetic, but vectorised loops may round a row's tail differently.
    torch.testing.assert_close(run(order), together[order], rtol=1e-12, atol=1e-12)
    for i in range(5):
        one = run(torch.tensor([i]))
        torch.testing.assert_close(one[0], together[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"ddpm_large", "x0_feedback"}))
def test_scale_invariance(name):
    """Data, noise levels and state times k give results times k (the VP-based two excepted)."""
    k, x = 3.7, double(25.0, -12.0)
    plain = SAMPLERS[name](gaussian_denoiser(1.5, 0.5), x, GRID, generator=generator())
    scaled = SAMPLERS[name](
        gaussian_denoiser(1.5 * k, 0.5 * k), k * x, k * GRID, generator=generator()
    )
    torch.testing.assert_close(scaled, k * plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"regress"}))
def test_gradients_reach_the_start_and_the_denoiser(name):
    grid = log_snr(4, 5.0, 0.3, append_zero=True)

    def run(x, mu):
        return SAMPLERS[name](gaussian_denoiser(mu, 0.5), x, grid, generator=generator())

    leaves = [double(4.0, -2.0).requires_grad_(), double(1.5).requires_grad_()]
    assert torch.autograd.gradcheck(run, leaves)


def test_x0_feedback_feeds_the_guess_as_the_next_vp_state():
    seen = []

    def denoise(x, sigma):
        seen.append(float(x) / math.sqrt(1 + float(sigma) ** 2))
        return double(10.0 + len(seen))

    SAMPLERS["x0_feedback"](denoise, double(7.0), GRID)
    assert seen[1:] == pytest.approx([11.0, 12.0, 13.0, 14.0, 15.0], rel=1e-14)


def test_regress_asks_once_at_zero():
    def denoise(x, sigma):
        assert torch.equal(x, torch.zeros(3, dtype=torch.float64))
        assert float(sigma) == 20.0
        return x + 5

    assert torch.equal(SAMPLERS["regress"](denoise, double(1, 2, 3), GRID), double(5, 5, 5))


def test_ddim_eta_one_is_ddpm():
    x = double(30.0, -20.0, 4.0)
    a = ddim(mixture_denoiser(), x, GRID, generator=generator(), eta=1.0)
    b = SAMPLERS["ddpm"](mixture_denoiser(), x, GRID, generator=generator())
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_noise_is_seeded_shared_or_per_row():
    x = torch.zeros(4, 3)
    assert torch.equal(draw_noise(x, generator(1)), draw_noise(x, generator(1)))
    assert not torch.equal(draw_noise(x, generator(1)), draw_noise(x, generator(2)))
    assert draw_noise(x, [generator()]).shape == (1, 3)
    rows = draw_noise(x, [generator(i) for i in range(4)])
    assert torch.equal(rows[2:3], draw_noise(x, [generator(2)]))
    before = torch.random.get_rng_state()
    SAMPLERS["ddpm"](mixture_denoiser(), x, GRID, generator=generator())
    assert torch.equal(before, torch.random.get_rng_state())


def test_errors_say_what_to_do():
    x = torch.zeros(4)
    with pytest.raises(ConfigError, match=r"pass a torch\.Generator"):
        SAMPLERS["ddpm"](mixture_denoiser(), x, GRID)
    with pytest.raises(ConfigError, match=r"1 or 4 \(B\), got 2"):
        SAMPLERS["ddpm"](mixture_denoiser(), x, GRID, generator=[generator()] * 2)
    with pytest.raises(ConfigError, match="Did you mean 'dpmpp_2m'"):
        get_sampler("dpmpp2m")
    for bad in (GRID.flip(0), GRID[:1], double(2, 1, -1), double(1, 1), GRID[None]):
        with pytest.raises(ConfigError, match="strictly falling"):
            SAMPLERS["euler"](mixture_denoiser(), x, bad)
    with pytest.raises(ConfigError, match="order"):
        SAMPLERS["unipc2"](mixture_denoiser(), x, GRID, order=4)
    with pytest.raises(ConfigError, match="r: expected"):
        SAMPLERS["dpmpp_2s"](mixture_denoiser(), x, GRID, r=0.0)
