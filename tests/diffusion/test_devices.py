"""On an accelerator: no float64, nobody waits in a step, and the CPU's numbers up to rounding."""

from __future__ import annotations

import pytest
import torch
from tests.accelerator import DEVICE, accelerator
from tests.diffusion.networks import inputs, tiny
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.amed_fit import AmedFit, fit_amed
from diffuprompt.diffusion.amed_predictor import AmedPredictor
from diffuprompt.diffusion.attention import dropout
from diffuprompt.diffusion.denoiser import make_denoiser
from diffuprompt.diffusion.grids import log_snr, make_grid
from diffuprompt.diffusion.loss import NOISES, denoising_loss
from diffuprompt.diffusion.parametrisation import PARAMETRISATIONS
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.schedule import linear

SCHEDULE = linear()
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}  # times in float32, through a few evaluations


def both(run):
    """What ``run(device)`` returns on the CPU, and on the accelerator, with who waited there."""
    with accelerator() as found:
        far, waits = run(DEVICE), +found.waits
        return run(torch.device("cpu")), far.detach().cpu(), waits


def test_times_and_sigmas_agree_and_nobody_waits():
    sigma = torch.logspace(-1.4, 2.3, 50)

    def there_and_back(device):
        x = sigma.to(device)
        return torch.stack([SCHEDULE.t(x) / 100, SCHEDULE.sigma(SCHEDULE.t(x)) / x]).float()

    near, far, waits = both(there_and_back)
    torch.testing.assert_close(far, near, rtol=2e-5, atol=0)
    assert not waits


def test_outside_of_the_schedule_an_accelerator_stays_at_its_ends():
    with accelerator():
        ends = SCHEDULE.t(torch.tensor([-1.0, 1e6]).to(DEVICE)).cpu()
    assert ends.tolist() == [0, 100]


@pytest.mark.parametrize("prediction", PARAMETRISATIONS)
@pytest.mark.parametrize("noise", NOISES)
def test_a_training_loss_waits_for_nobody(prediction, noise):
    z, condition, _ = inputs()

    def loss(device):
        network = tiny().to(device)
        denoise = make_denoiser(network, SCHEDULE, condition.to(device), prediction=prediction)
        return denoising_loss(
            denoise, z.to(device), SCHEDULE,
            generator=generator(), noise=noise, prediction=prediction,
        ).loss  # fmt: skip

    near, far, waits = both(loss)
    torch.testing.assert_close(far, near, **ROUNDING)
    assert not waits


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_waits_for_nobody(name):
    z, condition, _ = inputs()
    grid = make_grid("log_snr", 4, SCHEDULE, sigma_max=20.0)

    def sample(device):
        denoise = make_denoiser(tiny().eval().to(device), SCHEDULE, condition.to(device))
        with torch.no_grad():
            return SAMPLERS[name](denoise, 20 * z.to(device), grid, generator=generator())

    near, far, waits = both(sample)
    torch.testing.assert_close(far, near, **ROUNDING)
    assert not waits


def test_amed_is_fitted_and_samples_there():
    z, condition, _ = inputs()
    grid, short = log_snr(3, 20.0, 0.05, append_zero=True), AmedFit(interval_steps=3, end_steps=3)

    def fit(device):
        denoise = make_denoiser(
            tiny().eval().requires_grad_(False).to(device), SCHEDULE, condition.to(device)
        )
        predictor = AmedPredictor(grid, generator=generator()).to(device)
        fit_amed(predictor, [(denoise, 20 * z.to(device))], short)
        return predictor(denoise, 20 * z.to(device), grid)

    near, far, _ = both(fit)
    torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-3)  # six steps of Adam from rounding
    with accelerator() as found:
        predictor = AmedPredictor(grid, generator=generator()).to(DEVICE)
        denoise = make_denoiser(tiny().eval().to(DEVICE), SCHEDULE, condition.to(DEVICE))
        predictor(denoise, 20 * z.to(DEVICE), grid)
        assert not +found.waits


def test_dropout_masks_are_drawn_where_they_are_used_and_repeat():
    with accelerator() as found:
        x = torch.ones(40, 50, device=DEVICE)
        uploads = found.uploads
        stream = generator(3)
        first, second = dropout(x, 0.3, stream), dropout(x, 0.3, stream)
        again = dropout(x, 0.3, generator(3))
        assert found.uploads == uploads
        assert not +found.waits
        first, second, again = first.cpu(), second.cpu(), again.cpu()
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert float((first > 0).float().mean()) == pytest.approx(0.7, abs=0.05)
