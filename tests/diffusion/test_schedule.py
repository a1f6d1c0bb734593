import pytest
import torch
from tests.diffusion.worlds import double, reference_vectors

from diffuprompt.diffusion.schedule import Schedule, cosine, linear, make_schedule
from diffuprompt.errors import ConfigError


def test_linear_reference_numbers():
    # Ten printed digits; the computation is fp64, so a relative 1e-10 is what they can show.
    schedule = linear()
    t = double(1, 50, 100)
    want = double(0.0316385999, 3.5323695252, 221.4552617596)
    torch.testing.assert_close(schedule.sigma(t), want, rtol=2e-9, atol=0)
    assert float(schedule.alpha_bar(100.0)) == pytest.approx(2.039008975564e-05, rel=1e-11)
    assert float(schedule.sigma(50.5)) == pytest.approx(3.6357348364, rel=1e-10)
    assert schedule.sigma_max == pytest.approx(221.4552617596, rel=1e-11)
    assert schedule.sigma_min == pytest.approx(0.0316385999, rel=2e-9)
    assert float(schedule.betas[0]) == pytest.approx(1e-3)
    assert float(schedule.betas[-1]) == pytest.approx(0.2)


def test_linear_matches_the_reference_rows():
    schedule = linear()
    for row in reference_vectors()["schedule_T100_linear_x10"]["rows"]:
        assert float(schedule.betas[row["t"] - 1]) == pytest.approx(row["beta"], rel=1e-12)
        # 1e-11: cumulative sum of logs here, cumulative product there, 100 terms.
        assert float(schedule.alpha_bar(row["t"])) == pytest.approx(row["abar"], rel=1e-11)
        assert float(schedule.sigma(row["t"])) == pytest.approx(row["sigma"], rel=1e-11)


def test_cosine_is_clipped():
    schedule = cosine()
    assert float(schedule.betas.max()) == 0.999
    assert schedule.sigma_min == pytest.approx(0.0251, abs=5e-5)
    assert schedule.sigma_max == pytest.approx(2029, abs=0.5)


@pytest.mark.parametrize("schedule", [linear(), cosine(), linear(1000)])
def test_time_and_sigma_are_inverse(schedule):
    t = torch.linspace(0, schedule.steps, 977, dtype=torch.float64)
    # 1e-8: at sigma 2029 the flattest interval has d(ln ab)/dt ~ 7 but ab ~ 2e-7, and both
    # directions work with ln(ab), so the error stays at rounding times the time scale.
    torch.testing.assert_close(schedule.t(schedule.sigma(t)), t, rtol=0, atol=1e-8)
    assert bool((schedule.sigma(t).diff() > 0).all())


def test_time_is_clean_at_zero_and_the_log_is_linear_in_between():
    schedule = linear()
    assert float(schedule.sigma(0.0)) == 0.0
    assert float(schedule.t(0.0)) == 0.0
    logs = schedule.log_alpha_bar(double(7, 7.25, 8))
    assert float(logs[1]) == pytest.approx(float(0.75 * logs[0] + 0.25 * logs[2]), rel=1e-14)


def test_float32_sigma_max_is_in_range_but_more_is_not():
    schedule = linear()
    assert float(schedule.t(torch.tensor(schedule.sigma_max * (1 + 1e-6)))) == 100.0
    with pytest.raises(ConfigError, match="sigma_max"):
        schedule.t(300.0)
    with pytest.raises(ConfigError, match=r"\[0, 100\]"):
        schedule.sigma(101.0)


def test_wrong_schedules_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        make_schedule("cosin")
    with pytest.raises(ConfigError, match="more than 20"):
        linear(20)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        Schedule(double(0.1, 1.0))
