import math

import pytest
import torch
from tests.diffusion.networks import E, F, tiny
from tests.diffusion.worlds import double, gaussian_denoiser, generator

from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.grids import log_snr
from diffuprompt.diffusion.loss import denoising_loss, draw_sigma
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.sampling import Counted
from diffuprompt.diffusion.schedule import linear
from diffuprompt.diffusion.targets import FROM_X0, flow_to_ve, vp_to_ve
from diffuprompt.errors import ConfigError

SCHEDULE = linear()


@pytest.mark.parametrize("prediction", list(FROM_X0))
def test_every_prediction_gives_the_same_x0(prediction):
    """A network that predicts the exact target of N(1.5, 0.25) is an exact denoiser."""
    exact = gaussian_denoiser(1.5, 0.5)
    condition = torch.zeros(3, 2)
    flow, edm = prediction == "flow", prediction == "edm"

    def network(z, c, u, *, keep, generator):
        assert c is condition
        sigma = u / (1 - u) if flow else (4 * u).exp() if edm else SCHEDULE.sigma(100 * u)
        x = flow_to_ve(z, sigma) if flow else vp_to_ve(z, sigma)
        return FROM_X0[prediction](exact(x, sigma), x, sigma)

    denoise = make_denoiser(network, SCHEDULE, condition, prediction=prediction)
    x = 5 * torch.randn(3, 4, generator=generator(), dtype=torch.float64)
    for sigma in (double(0.04, 1.0, 100.0), torch.tensor(2.0, dtype=torch.float64)):
        # 1e-9: the map sigma -> t -> sigma and a difference of numbers up to 100 times larger.
        torch.testing.assert_close(denoise(x, sigma), exact(x, sigma), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_untrained_network_returns_its_base_exactly(name):
    condition = torch.randn(2, E, generator=generator())
    denoise = Counted(make_denoiser(tiny(trained=False), SCHEDULE, condition))
    grid = log_snr(4, 80.0, SCHEDULE.sigma_min, append_zero=True)
    x = 80 * torch.randn(2, F, generator=generator(1))
    assert torch.equal(SAMPLERS[name](denoise, x, grid, generator=generator()), torch.zeros(2, F))


def test_sampling_is_independent_of_the_batch():
    """One noise for all images: a picture's prompts do not depend on its neighbours."""
    network = tiny()
    condition = torch.randn(4, E, generator=generator())
    start = 80 * torch.randn(1, F, generator=generator(1))
    grid = log_snr(5, 80.0, SCHEDULE.sigma_min, append_zero=True)

    def run(rows):
        denoise = make_denoiser(network, SCHEDULE, condition[rows])
        return SAMPLERS["dpmpp_2m"](denoise, start.expand(len(rows), -1), grid)

    with torch.inference_mode():
        together = run([0, 1, 2, 3])
        assert not torch.allclose(together[0], together[1], atol=1e-3)
        for i in (3, 1):
            # fp32 rounding of matrix products of another size, through five evaluations.
            torch.testing.assert_close(run([i])[0], together[i], rtol=1e-4, atol=1e-4)


def test_sigma_outside_the_schedule_is_refused():
    denoise = make_denoiser(tiny(), SCHEDULE, torch.zeros(1, E))
    with pytest.raises(ConfigError, match="sigma_max"):
        denoise(torch.zeros(2, F), torch.tensor(500.0))


@pytest.mark.parametrize("times", ["time", "steps"])
def test_drawn_levels_are_uniform_in_time(times):
    t = SCHEDULE.t(draw_sigma(4000, SCHEDULE, generator(), noise=times))
    assert 1 - 1e-9 <= float(t.min()) < 1.5
    assert 99 < float(t.max()) <= 100
    # Standard error of the mean of 4,000 uniforms on a range of 99: 0.45; four of them.
    assert float(t.mean()) == pytest.approx(50.5, abs=1.8)
    whole = (t - t.round()).abs() < 1e-6
    assert bool(whole.all()) == (times == "steps")


def test_loss_of_the_exact_denoiser_is_the_posterior_variance():
    g = generator()
    x0 = 1.5 + 0.5 * torch.randn(20_000, 4, generator=g, dtype=torch.float64)
    out = denoising_loss(gaussian_denoiser(1.5, 0.5), x0, SCHEDULE, generator=g)
    s2 = out.sigma.square()
    want = (0.25 * s2 / (0.25 + s2)).mean()
    # 80,000 squared errors of mean 0.18 and std at most 0.35: standard error 1.3e-3; three.
    assert float(out.loss) == pytest.approx(float(want), abs=4e-3)
    assert out.x0.shape == x0.shape


def test_loss_is_seeded_and_the_guess_keeps_its_graph():
    network = tiny()
    x0 = torch.randn(4, F, generator=generator())
    denoise = make_denoiser(network, SCHEDULE, torch.randn(4, E, generator=generator()))
    a, b = (denoising_loss(denoise, x0, SCHEDULE, generator=generator(5)) for _ in range(2))
    assert torch.equal(a.loss, b.loss)
    assert torch.equal(a.sigma, b.sigma)
    assert a.sigma.dtype == x0.dtype
    assert torch.equal(a.loss, (a.x0 - x0).square().mean())
    (grad,) = torch.autograd.grad(a.x0.sum(), [network.time_encoder])
    assert bool(grad.any())


def test_a_tiny_network_learns_a_conditional_mean():
    """Two conditions with targets +1 and -1: one step from sigma_max tells them apart."""
    network = tiny(trained=False).train()
    condition = torch.randn(2, E, generator=generator()).repeat(16, 1)
    target = torch.tensor([1.0, -1.0]).repeat(16)[:, None].expand(-1, F)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    g = generator(1)
    for _ in range(60):
        denoise = make_denoiser(network, SCHEDULE, condition)
        out = denoising_loss(denoise, target, SCHEDULE, generator=g)
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
    denoise = make_denoiser(network.eval(), SCHEDULE, condition[:2])
    noise = SCHEDULE.sigma_max * torch.randn(2, F, generator=generator(2))
    guess = SAMPLERS["euler"](denoise, noise, torch.tensor([SCHEDULE.sigma_max, 0.0])).detach()
    # Pure noise says nothing of the target: without the condition the best guess is 0, 1 away.
    assert math.sqrt(float((guess - target[:2]).square().mean())) < 0.3
