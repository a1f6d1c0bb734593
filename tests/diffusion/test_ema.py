import pytest
import torch
from torch import nn

from diffuprompt.diffusion.ema import Ema
from diffuprompt.errors import CheckpointError, ConfigError


def make(value=0.0):
    parameter = nn.Parameter(torch.full((2,), value))
    return parameter, Ema([parameter], 0.9)


def test_recursion_with_warm_up():
    parameter, ema = make()
    want = 0.0
    for n in range(1, 101):
        parameter.data.fill_(float(n))
        ema.update()
        decay = min(0.9, (1 + n) / (10 + n))
        want = decay * want + (1 - decay) * n
    with ema.swapped():
        # 100 fp32 updates of values up to 100.
        assert float(parameter[0].detach()) == pytest.approx(want, rel=1e-5)


def test_swapped_restores_bit_for_bit_even_after_an_error():
    parameter, ema = make()
    parameter.data.copy_(torch.tensor([0.1, 0.3]))
    kept = parameter.detach().clone()

    def fail_inside():
        with ema.swapped():
            assert torch.equal(parameter.detach(), torch.zeros(2))
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert torch.equal(parameter.detach(), kept)
    assert parameter.requires_grad
    with ema.swapped(), pytest.raises(AssertionError):
        ema.update()


def test_state_resumes_bit_for_bit():
    def steps(parameter, ema, numbers):
        for n in numbers:
            parameter.data.fill_(n * 0.37)
            ema.update()
        return ema.state()

    parameter, ema = make()
    straight = steps(parameter, ema, range(20))
    parameter, ema = make()
    half = steps(parameter, ema, range(11))
    other, resumed = make(5.0)
    resumed.load_state(half)
    end = steps(other, resumed, range(11, 20))
    assert end["updates"] == straight["updates"] == 20
    assert torch.equal(end["shadow"][0], straight["shadow"][0])


def test_errors():
    with pytest.raises(ConfigError, match="decay"):
        Ema([], 1.0)
    with pytest.raises(CheckpointError, match="another network"):
        make()[1].load_state({"updates": 1, "shadow": [torch.zeros(3)]})
