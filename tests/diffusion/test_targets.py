import pytest
import torch
from tests.diffusion.worlds import generator

from diffuprompt.diffusion import targets
from diffuprompt.diffusion.schedule import linear

SIGMA_B = torch.tensor([0.03, 0.7, 5.0, 200.0], dtype=torch.float64)


@pytest.fixture
def pair():
    g = generator()
    x0 = torch.randn(4, 3, 2, generator=g, dtype=torch.float64)
    eps = torch.randn(4, 3, 2, generator=g, dtype=torch.float64)
    return x0, eps, x0 + SIGMA_B[:, None, None] * eps


@pytest.mark.parametrize("name", list(targets.TO_X0))
def test_round_trip(name, pair):
    x0, _, x = pair
    predicted = targets.FROM_X0[name](x0, x, SIGMA_B)
    back = targets.TO_X0[name](predicted, x, SIGMA_B)
    # 1e-10: at sigma 200, x0 is a difference of numbers 200 to 40,000 times as large.
    torch.testing.assert_close(back, x0, rtol=0, atol=1e-10)


def test_definitions(pair):
    x0, eps, x = pair
    schedule = linear()
    ab = schedule.alpha_bar(schedule.t(SIGMA_B))[:, None, None]
    # 1e-9: x - x0 loses up to four digits at sigma 0.03 to 200.
    close = {"rtol": 1e-9, "atol": 1e-9}
    vp = ab.sqrt() * x0 + (1 - ab).sqrt() * eps
    torch.testing.assert_close(targets.ve_to_vp(x, SIGMA_B), vp, **close)
    torch.testing.assert_close(targets.eps_from_x0(x0, x, SIGMA_B), eps, **close)
    v = ab.sqrt() * eps - (1 - ab).sqrt() * x0
    torch.testing.assert_close(targets.v_from_x0(x0, x, SIGMA_B), v, **close)
    torch.testing.assert_close(targets.flow_from_x0(x0, x, SIGMA_B), eps - x0, **close)
    u = (SIGMA_B / (1 + SIGMA_B))[:, None, None]
    torch.testing.assert_close(targets.ve_to_flow(x, SIGMA_B), (1 - u) * x0 + u * eps, **close)


def test_edm_target_has_unit_variance_for_unit_data():
    g = generator()
    x0, eps = torch.randn(2, 100_000, generator=g, dtype=torch.float64)
    for sigma in (0.05, 1.0, 40.0):
        s = torch.tensor(sigma, dtype=torch.float64)
        raw = targets.edm_from_x0(x0, x0 + s * eps, s)
        # Standard error of a variance of 1e5 normals: sqrt(2 / 1e5) = 0.0045; four of them.
        assert float(raw.var()) == pytest.approx(1, abs=0.018)


def test_state_round_trips(pair):
    x = pair[2]
    for there, back in (
        (targets.ve_to_vp, targets.vp_to_ve),
        (targets.ve_to_flow, targets.flow_to_ve),
    ):
        torch.testing.assert_close(back(there(x, SIGMA_B), SIGMA_B), x, rtol=1e-14, atol=0)


def test_scalar_sigma_is_the_same_as_one_a_row(pair):
    x = pair[2]
    one = torch.tensor(0.7, dtype=torch.float64)
    for f in targets.TO_X0.values():
        assert torch.equal(f(x, x, one), f(x, x, one.expand(4)))
