"""Training losses against their own formulas, written out with nothing of the room's code."""

import math

import pytest
import torch
from tests.diffusion.networks import E, F, tiny
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.loss import NOISES, denoising_loss, draw_sigma
from diffuprompt.diffusion.parametrisation import PARAMETRISATIONS, get_parametrisation, loss_weight
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.schedule import linear
from diffuprompt.errors import ConfigError

SCHEDULE = linear()


def literal(prediction, network, condition, z0, sigma, eps, time):
    """Return each row's mean square error on the network's own target."""
    rows = []
    for i in range(len(z0)):
        s = float(sigma[i])
        ab = 1 / (1 + s * s)
        noisy = math.sqrt(ab) * z0[i] + math.sqrt(1 - ab) * eps[i]
        c = condition[i : i + 1]

        def ask(state, u, c=c):
            return network(state[None], c, torch.tensor([u], dtype=state.dtype))[0]

        if prediction == "x0":
            error = ask(noisy, time[i]) - z0[i]
        elif prediction == "eps":
            error = ask(noisy, time[i]) - eps[i]
        elif prediction == "v":
            target = math.sqrt(ab) * eps[i] - math.sqrt(1 - ab) * z0[i]
            error = ask(noisy, time[i]) - target
        elif prediction == "edm":
            x, sd = z0[i] + s * eps[i], 1.0
            total = s * s + sd * sd
            skip, out, scale = sd * sd / total, s * sd / math.sqrt(total), 1 / math.sqrt(total)
            denoised = skip * x + out * ask(scale * x, math.log(s) / 4)
            error = (denoised - z0[i]) * math.sqrt(total) / (s * sd)
        else:
            u = s / (1 + s)
            error = ask((1 - u) * z0[i] + u * eps[i], u) - (eps[i] - z0[i])
        rows.append(error.square().mean())
    return torch.stack(rows)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prediction", list(PARAMETRISATIONS))
def test_loss_is_the_mean_square_error_of_what_is_predicted(prediction, noise):
    network = tiny().double()
    z0 = torch.randn(5, F, generator=generator(), dtype=torch.float64)
    condition = torch.randn(5, E, generator=generator(1), dtype=torch.float64)
    denoise = make_denoiser(network, SCHEDULE, condition, prediction=prediction)
    out, weighed = (
        denoising_loss(
            denoise, z0, SCHEDULE, generator=generator(3), noise=noise, prediction=prediction,
            weight=weight,
        )
        for weight in ("unit", "min_snr")
    )  # fmt: skip
    again = generator(3)
    sigma = draw_sigma(5, SCHEDULE, again, noise=noise)
    eps = torch.randn(5, F, generator=again, dtype=torch.float64)
    time = (SCHEDULE.t(sigma) / 100).tolist()
    rows = literal(prediction, network, condition, z0, sigma, eps, time)
    # 1e-8: at sigma 221, x0 is a difference of numbers up to 5e4 times as large.
    torch.testing.assert_close(out.loss, rows.mean(), rtol=1e-8, atol=0)
    # Min-SNR (arXiv 2303.09556): min(SNR, 5) on the error of x0 that this guess implies.
    x0_error = (out.x0 - z0).square().mean(1)
    want = torch.stack([min(float(s) ** -2, 5.0) * e for s, e in zip(sigma, x0_error, strict=True)])
    torch.testing.assert_close(weighed.loss, want.mean(), rtol=1e-12, atol=0)


def test_unit_weights_in_numbers():
    sigma = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    expected = {
        "x0": [1, 1, 1], "eps": [4, 1, 0.25], "v": [5, 2, 1.25], "edm": [5, 2, 1.25],
        "flow": [9, 4, 2.25],
    }  # fmt: skip
    for prediction, want in expected.items():
        assert loss_weight("unit", prediction, sigma).tolist() == pytest.approx(want)
        assert loss_weight("min_snr", prediction, sigma).tolist() == pytest.approx([4, 1, 0.25])
    assert float(loss_weight("min_snr", "x0", torch.tensor(0.1))) == 5


@pytest.mark.parametrize("noise", NOISES)
def test_drawn_levels_stay_inside_the_schedule(noise):
    sigma = draw_sigma(4000, SCHEDULE, generator(), noise=noise)
    assert sigma.dtype == torch.float64
    assert float(sigma.min()) >= SCHEDULE.sigma_min * (1 - 1e-12)
    assert float(sigma.max()) <= SCHEDULE.sigma_max * (1 + 1e-12)
    assert torch.equal(sigma, draw_sigma(4000, SCHEDULE, generator(), noise=noise))


def test_continuous_densities():
    log = draw_sigma(4000, SCHEDULE, generator(), noise="log_normal").log()
    # Standard errors of mean and std of 4,000 normals of std 1.4: 0.022 and 0.016; four of them.
    # Cutting 0.7 % of the left tail moves both by less than 0.01.
    assert float(log.mean()) == pytest.approx(0, abs=0.10)
    assert float(log.std()) == pytest.approx(1.4, abs=0.075)
    sigma = draw_sigma(4000, SCHEDULE, generator(), noise="uniform_u")
    # Standard error of the mean of 4,000 uniforms: 0.0046; four of them.
    assert float((sigma / (1 + sigma)).mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("prediction", list(PARAMETRISATIONS))
def test_every_sampler_family_takes_every_prediction(prediction):
    network = tiny()
    condition = torch.randn(2, E, generator=generator())
    denoise = make_denoiser(network, SCHEDULE, condition, prediction=prediction)
    grid = torch.tensor([20.0, 3.0, 0.7, 0.1, 0.0], dtype=torch.float64)
    start = 20 * torch.randn(2, F, generator=generator(1))
    with torch.inference_mode():
        for name, sampler in SAMPLERS.items():
            out = sampler(denoise, start, grid, generator=generator(2))
            assert bool(torch.isfinite(out).all()), name
            assert out.shape == (2, F)


@pytest.mark.parametrize("prediction", list(PARAMETRISATIONS))
def test_every_prediction_learns(prediction):
    """A few steps on one batch of fixed noise lower the loss."""
    network = tiny(trained=False).train()
    x0 = torch.randn(8, F, generator=generator())
    condition = torch.randn(8, E, generator=generator(1))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        denoise = make_denoiser(network, SCHEDULE, condition, prediction=prediction)
        out = denoising_loss(
            denoise, x0, SCHEDULE, generator=generator(2), noise="log_normal", prediction=prediction
        )
        losses.append(float(out.loss.detach()))
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]


def test_wrong_names_are_refused_with_a_hint():
    with pytest.raises(ConfigError, match=r"prediction: .*Did you mean 'flow'\?"):
        get_parametrisation("flwo")
    with pytest.raises(ConfigError, match=r"weight: .*Did you mean 'min_snr'\?"):
        loss_weight("minsnr", "x0", torch.ones(1))
    with pytest.raises(ConfigError, match=r"noise: .*Did you mean 'log_normal'\?"):
        draw_sigma(2, SCHEDULE, generator(), noise="lognormal")
