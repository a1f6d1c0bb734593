import pytest
import torch
from tests.diffusion.worlds import double, reference_vectors

from diffuprompt.diffusion import grids
from diffuprompt.diffusion.schedule import linear
from diffuprompt.errors import ConfigError

SCHEDULE = linear()
ENDS = (SCHEDULE.sigma_max, SCHEDULE.sigma_min)


@pytest.mark.parametrize(
    ("name", "middle"),
    [
        ("polynomial", (32.6618499479604, 2.324043760365062)),
        ("log_snr", (11.577010334988483, 0.6052110355450027)),
        ("time_uniform", (12.295439697835313, 1.7773047079646278)),
    ],
)
def test_reference_values(name, middle):
    grid = grids.GRIDS[name](4, *ENDS)
    # Computed twice in fp64 by different formulas: 1e-11 leaves room for powers of 7 only.
    torch.testing.assert_close(grid, double(ENDS[0], *middle, ENDS[1]), rtol=1e-11, atol=0)


def test_reference_file_agrees():
    vectors = reference_vectors()
    rows = next(v for k, v in vectors.items() if k.startswith("amed_closed_form_r"))
    pairs = {"time_uniform_rho1_from_221.455": "time_uniform", "polynomial_rho7": "polynomial"}
    for row, name in (pairs | {"logsnr": "log_snr"}).items():
        got = grids.GRIDS[name](4, *ENDS)
        torch.testing.assert_close(got, double(*rows[row]["grid"]), rtol=1e-11, atol=0)
    got = grids.log_snr(4, 20.0, SCHEDULE.sigma_min)
    torch.testing.assert_close(got, double(*rows["logsnr_from_20"]["grid"]), rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", list(grids.GRIDS))
@pytest.mark.parametrize("num_points", [1, 2, 7, 100])
def test_grids_fall_strictly_between_exact_ends(name, num_points):
    grid = grids.make_grid(name, num_points, SCHEDULE)
    assert grid.dtype == torch.float64
    assert grid.shape == (num_points + 1,)
    assert float(grid[0]) == pytest.approx(ENDS[0], rel=1e-14)
    assert grid[-1] == 0
    if num_points > 1:
        assert float(grid[-2]) == pytest.approx(ENDS[1], rel=1e-14)
    assert bool((grid.diff() < 0).all())


def test_discrete_points_are_integer_times():
    t = SCHEDULE.t(grids.discrete(6, *ENDS, schedule=SCHEDULE))
    torch.testing.assert_close(t, double(100, 80, 60, 41, 21, 1), rtol=0, atol=1e-9)
    every = SCHEDULE.t(grids.discrete(100, *ENDS, schedule=SCHEDULE))
    torch.testing.assert_close(every, torch.arange(100.0, 0, -1).double(), rtol=0, atol=1e-9)


def test_rho_one_is_uniform_in_sigma():
    grid = grids.polynomial(5, 9.0, 1.0, rho=1.0)
    torch.testing.assert_close(grid, double(9, 7, 5, 3, 1), rtol=1e-14, atol=0)


def test_errors_say_what_to_do():
    with pytest.raises(ConfigError, match="Did you mean 'log_snr'"):
        grids.make_grid("logsnr", 5, SCHEDULE)
    with pytest.raises(ConfigError, match="fewer points"):
        grids.make_grid("discrete", 101, SCHEDULE)
    with pytest.raises(ConfigError, match="sigma_min < sigma_max"):
        grids.log_snr(4, 0.1, 0.2)
    with pytest.raises(ConfigError, match="at or below sigma_max"):
        grids.make_grid("log_snr", 4, SCHEDULE, sigma_max=1000.0)
