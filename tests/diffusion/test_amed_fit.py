"""Fitted AMED: closed-form roots, one fit for all scales, the same bits again, named failures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.diffusion.worlds import (
    gaussian_denoiser,
    gaussian_flow,
    generator,
    mixture_denoiser,
    reference_vectors,
)
from torch import Tensor

from diffuprompt.diffusion.amed_fit import AmedFit, Start, fit_amed, teach
from diffuprompt.diffusion.amed_predictor import AmedPredictor
from diffuprompt.diffusion.grids import log_snr
from diffuprompt.diffusion.samplers import SAMPLERS
from diffuprompt.diffusion.sampling import Counted
from diffuprompt.errors import CheckpointError, TrainingError

START = 40.0
GRID = log_snr(4, START, 0.0316, append_zero=True)
STDS = torch.tensor([0.25, 0.5, 1.0, 2.0])
UNSEEN = (0.35, 0.7, 1.4)


def noise(rows: int, seed: int = 0, width: int = 64) -> Tensor:
    return START * torch.randn(rows, width, generator=generator(seed))


def all_scales() -> list[Start]:
    std = STDS.repeat(8)[:, None]
    return [(gaussian_denoiser(0.0, std), noise(len(std)))]


def fitted(config: AmedFit | None = None, **options: int) -> tuple[AmedPredictor, dict[str, float]]:
    predictor = AmedPredictor(GRID, generator=generator(), **options)
    return predictor, fit_amed(predictor, all_scales(), config)


@pytest.fixture(scope="module")
def by_sample() -> tuple[AmedPredictor, dict[str, float]]:
    return fitted()


@torch.no_grad()
def worst(run: Callable[..., Tensor], grid: Tensor, stds: tuple[float, ...]) -> float:
    """Largest relative error of the standard deviation, on noise that no fit saw."""
    x = noise(32, seed=9, width=128)
    x = START * x / x.square().mean().sqrt()
    ends = [run(gaussian_denoiser(0.0, s), x, grid).square().mean().sqrt() / s for s in stds]
    return max(abs(float(e) - 1) for e in ends)


def test_one_fit_serves_scales_that_it_never_saw(by_sample):
    """The requirement is 3 % at 5 evaluations; 2 % leaves room for a short fit in the test."""
    predictor, told = by_sample
    assert predictor.nfe == 5
    assert worst(predictor, GRID, UNSEEN) < 0.02
    assert worst(predictor, GRID, tuple(STDS.tolist())) < 0.02
    assert told["amed_end"] < 1e-3 * told["amed_start"]


def test_it_is_ahead_of_the_untrained_with_as_many_evaluations(by_sample):
    grid = log_snr(5, START, 0.0316, append_zero=True)
    ahead = worst(by_sample[0], GRID, UNSEEN)
    assert all(ahead < worst(SAMPLERS[n], grid, UNSEEN) / 2 for n in ("dpmpp_2m", "unipc2"))


def test_what_a_sample_shows_is_worth_having(by_sample):
    """Free scalars must compromise between scales; the fits are otherwise the same."""
    _, scalars = fitted(width=0)
    assert by_sample[1]["amed_end"] < scalars["amed_end"] / 5


def test_both_stages_matter(by_sample):
    _, first = fitted(AmedFit(interval_steps=300, end_steps=0))  # as many updates, one stage
    assert by_sample[1]["amed_end"] < first["amed_end"] < first["amed_start"] / 10


def test_t6_a_fit_finds_the_closed_form_roots():
    key = "amed_closed_form_r (isotropic gaussian mean 0 std 1, c=1, AFS on first interval, 4 time "
    case = reference_vectors()[key + "points)"]["logsnr_from_20"]
    grid = torch.tensor(case["grid"], dtype=torch.float64)
    predictor = AmedPredictor(grid, width=0, reach=0.0, generator=generator()).double()
    x = 20 * torch.randn(4, 8, generator=generator(), dtype=torch.float64)
    denoise = gaussian_denoiser(0.0, 1.0)
    fit_amed(predictor, [(denoise, x)], AmedFit(interval_steps=400, end_steps=0, lr=0.02))
    # The last root is at a flat place: a relative error of 1e-3 of the state leaves r 0.01 free.
    assert predictor.raw[:, 0].sigmoid().tolist() == pytest.approx(case["r"], abs=0.01)
    want = gaussian_flow(x, float(grid[0]), float(grid[-1]), 0.0, 1.0)
    error = (predictor(denoise, x, grid).detach() - want).norm() / want.norm()
    assert float(error) < 1e-3  # the reference's bound


def test_the_teacher_follows_the_exact_flow():
    predictor = AmedPredictor(GRID, generator=generator()).double()
    x = noise(3).double()
    path = teach(predictor, gaussian_denoiser(0.0, 0.5), x, points=16)
    ends = [*GRID[1:3].tolist(), 0.0]
    # UniPC-3 in steps of 0.15: measured 7e-5. At 0 it returns its answer at sigma_min, which lacks
    # 1 - s / sqrt(s^2 + sigma_min^2) = 2.0e-3. A student's errors are near 1e-2.
    for state, level, rtol in zip(path.states[1:], ends, (2e-4, 2e-4, 2.2e-3), strict=True):
        exact = gaussian_flow(x, START, level, 0.0, 0.5)
        torch.testing.assert_close(state, exact, rtol=rtol, atol=1e-9)


def test_the_mixture_too():
    batch = [(mixture_denoiser(), noise(16))]
    predictor = AmedPredictor(GRID, generator=generator())
    told = fit_amed(predictor, batch)
    assert told["amed_end"] < told["amed_start"] / 10


def test_a_fit_repeats_bit_for_bit_and_leaves_the_rest_alone():
    state = torch.get_rng_state()
    first, again = (fitted(SHORT)[0].state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, first[name]) for name, value in again.items())


def test_the_state_dict_carries_all(by_sample):
    other = AmedPredictor(GRID, generator=generator(5))
    other.load_state_dict(by_sample[0].state_dict())
    x = noise(2, seed=3)
    denoise = gaussian_denoiser(0.0, 0.7)
    assert torch.equal(other(denoise, x, GRID), by_sample[0](denoise, x, GRID))


def test_batches_are_looked_at_in_turn():
    many = [(gaussian_denoiser(0.0, float(s)), noise(4, seed=i)) for i, s in enumerate(STDS)]
    predictor = AmedPredictor(GRID, generator=generator())
    fit_amed(predictor, many, AmedFit(interval_steps=100, end_steps=300))
    assert worst(predictor, GRID, UNSEEN) < 0.05  # a quarter of the rows an update


def test_a_broken_denoiser_is_named():
    predictor = AmedPredictor(GRID, generator=generator())
    with pytest.raises(TrainingError, match="teacher's states are not finite"):
        fit_amed(predictor, [(lambda x, s: x / 0, noise(2))])

    def fails_off_the_grid(x: Tensor, sigma: Tensor) -> Tensor:
        return x * float("nan") if sigma.ndim else 0 * x + 1

    with pytest.raises(TrainingError, match="loss"):
        fit_amed(predictor, [(fails_off_the_grid, noise(2))])


class Stopped(Exception):
    """Stands for a kill."""


class StopAt:
    """Shows nothing, and stops the stage of one name after so many updates."""

    def __init__(self, stage: str, step: int) -> None:
        self.stage, self.step, self.label = stage, step, ""

    def task(self, label: str, *, total: int) -> StopAt:
        self.label, self.done = label, 0
        return self

    def advance(self, n: int = 1, **stats: float) -> None:
        self.done += n
        if self.stage in self.label and self.done == self.step:
            raise Stopped

    def __enter__(self) -> StopAt:
        return self

    def __exit__(self, *error: object) -> None:
        return None


SHORT = AmedFit(interval_steps=8, end_steps=8)


@pytest.mark.parametrize(("stage", "step"), [("intervals", 1), ("intervals", 5), ("ends", 3)])
def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path, stage, step):
    whole, told = fitted(SHORT)
    options = {"folder": tmp_path, "fingerprint": "f", "save_every_s": 0.0}
    predictor = AmedPredictor(GRID, generator=generator())
    with pytest.raises(Stopped):
        fit_amed(predictor, all_scales(), SHORT, **options, progress=StopAt(stage, step))
    again = AmedPredictor(GRID, generator=generator())
    counted = StopAt("none", 0)
    assert fit_amed(again, all_scales(), SHORT, **options, progress=counted) == told
    assert counted.done <= 8 - (step - 1 if stage == "ends" else 0)  # it did not start over
    for name, value in again.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])
    with pytest.raises(CheckpointError, match="another run"):
        fit_amed(again, all_scales(), SHORT, folder=tmp_path, fingerprint="another")


def test_the_teacher_is_asked_only_once_anywhere():
    """Its own answers show what a look shows: with a first step for nothing, 48 evaluations."""
    predictor, calls = AmedPredictor(GRID, generator=generator()), Counted(mixture_denoiser())
    path = teach(predictor, calls, noise(4), points=16)
    assert calls.nfe == 3 * 16 + 1
    x, sigma = path.states[1], torch.tensor(float(GRID[1]))
    want = predictor.look(mixture_denoiser(), x, sigma)
    assert torch.equal(path.looks[1].x0, want.x0)
    assert torch.equal(path.looks[1].features, want.features)
    assert path.looks[0].features is None


def test_the_grid_stays_on_the_host_and_keys_as_they_were(by_sample):
    """State dicts of 0.1 hold ``sigmas`` as it was converted, usually to float32."""
    predictor = AmedPredictor(GRID, generator=generator())
    assert list(predictor.state_dict()) == list(by_sample[0].state_dict())
    assert predictor.to(torch.float32).sigmas.dtype == torch.float32
    assert torch.equal(predictor.sigmas, GRID.float())
    old = {k: v.float() for k, v in by_sample[0].state_dict().items()}
    fresh = AmedPredictor(GRID, generator=generator(7))
    fresh.load_state_dict(old)
    assert fresh.sigmas.tolist() == GRID.float().tolist()
    moved = fresh.to("meta")
    assert (moved.raw.device.type, moved.sigmas.device.type) == ("meta", "cpu")
