"""T7: the same solvers in diffusers, an independent implementation on VP states."""

import pytest
import torch
from tests.diffusion.worlds import double, gaussian_denoiser

from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.schedule import linear

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
SCHEDULE = linear()
TRAINED = {"num_train_timesteps": 100, "prediction_type": "sample"}
DENOISE = gaussian_denoiser(1.5, 0.5)
INDICES = [99, 79, 59, 40, 20]  # zero-based; t is one more


def _ours(name: str, indices: list[int]) -> float:
    sigmas = torch.cat([SCHEDULE.sigma(double(*[i + 1 for i in indices])), double(0)])
    return float(SAMPLERS[name](DENOISE, 0.7 * sigmas[:1], sigmas))


def _theirs(scheduler, x_ve: float) -> float:
    """Run a VP scheduler of diffusers on the VE denoiser, in float64."""
    sigma = SCHEDULE.sigma(double(float(scheduler.timesteps[0]) + 1))
    x = double(x_ve)[None] / (1 + sigma**2).sqrt()  # UniPC there wants two dimensions
    for t in scheduler.timesteps:
        sigma = SCHEDULE.sigma(double(float(t) + 1))[0]
        x0 = DENOISE(x * (1 + sigma**2).sqrt(), sigma)
        x = scheduler.step(x0, t, x).prev_sample
    return float(x)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("dpmpp_2m", 1.68258379),
        ("dpmpp_3m", 1.68301150),
        ("unipc2", 1.68434319),
        ("unipc3", 1.68435053),
    ],
)
def test_recorded_values(name, want):
    # Recorded with diffusers 0.35.1, whose sigmas are float32: good to 1e-7; 8 decimals printed.
    assert _ours(name, INDICES) == pytest.approx(want, abs=1e-7)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m", "unipc2", "unipc3"])
def test_multistep(name):
    diffusers = pytest.importorskip("diffusers")
    solver = "UniPC" if name.startswith("unipc") else "DPMSolver"
    scheduler = getattr(diffusers, f"{solver}MultistepScheduler")(
        trained_betas=SCHEDULE.betas.numpy(),
        solver_order=3 if "3" in name else 2,
        final_sigmas_type="zero",
        **TRAINED,
    )
    scheduler.set_timesteps(5)
    assert scheduler.timesteps.tolist() == INDICES
    # 1e-7: the library keeps its sigmas in float32 (6e-8 relative).
    want = _theirs(scheduler, 0.7 * SCHEDULE.sigma_max)
    assert _ours(name, INDICES) == pytest.approx(want, abs=1e-7)


def test_ddim():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        trained_betas=SCHEDULE.betas.numpy(),
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        **TRAINED,
    )
    scheduler.set_timesteps(5)
    indices = scheduler.timesteps.tolist()
    assert indices == [99, 79, 59, 39, 19]
    # 1e-6: alphas_cumprod is float32 there, 1 - ab at t = 20 has lost a digit.
    want = _theirs(scheduler, 0.7 * SCHEDULE.sigma_max)
    assert _ours("ddim", indices) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("euler", "Euler"), ("heun", "Heun")])
def test_ve_solvers(name, kind):
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, f"{kind}DiscreteScheduler")(
        trained_betas=SCHEDULE.betas.numpy(), **TRAINED
    )
    scheduler.set_timesteps(5)
    sigmas = scheduler.sigmas.double()  # theirs, so that only the solver is compared
    distinct = sigmas.unique().flip(0)
    x = double(0.7) * distinct[0]
    ours = float(SAMPLERS[name](DENOISE, x, distinct))
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(DENOISE(x, sigmas[i]), t, x).prev_sample.double()
    # 2e-5: float32 state and sigmas, starting from x = 155.
    assert ours == pytest.approx(float(x), abs=2e-5)
