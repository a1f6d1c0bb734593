"""Learning rates against the printed sequences; optimisers against their own definition."""

import math

import pytest
import torch
from torch import nn

from diffuprompt.engine.optim import Optimiser, dassl_lr, first_stage
from diffuprompt.errors import ConfigError

# Printed sequences of the common recipe, with half a unit of their last printed digit as tolerance.
PRINTED = [
    (2e-3, 50, {0: (1e-5, 0), 1: (2e-3, 0), 2: (1.998027e-3, 5e-10), 3: (1.992115e-3, 5e-10)}),
    (
        3.5e-3,
        5,
        {
            0: (1e-5, 0),
            1: (3.5e-3, 0),
            2: (3.166e-3, 5e-7),
            3: (2.291e-3, 5e-7),
            4: (1.209e-3, 5e-7),
        },
    ),
    (2.6e-3, 2, {0: (1e-5, 0), 1: (2.6e-3, 0)}),
    (2e-3, 10, {9: (1.91e-4, 5e-7)}),
    (2.5e-3, 20, {19: (6.1e-5, 5e-7)}),
]


@pytest.mark.parametrize(("lr0", "epochs", "expected"), PRINTED)
def test_dassl_sequence_is_the_printed_one(lr0, epochs, expected):
    rates = dassl_lr(lr0, epochs)
    assert len(rates) == epochs
    for epoch, (rate, tolerance) in expected.items():
        assert abs(rates[epoch] - rate) <= tolerance + 1e-18  # the last: rounding of 0.5 * 2 * lr0


def test_dassl_warm_up_is_configurable_and_the_cosine_starts_after_it():
    rates = dassl_lr(1.0, 8, warmup_epochs=3, warmup_lr=0.25)
    assert rates[:4] == [0.25, 0.25, 0.25, 1.0]
    assert rates[4] == pytest.approx(0.5 * (1 + math.cos(math.pi / 8)))
    assert dassl_lr(1.0, 8, warmup_epochs=0)[0] == 1.0


def test_lr_at_follows_the_epoch_sequence():
    optimiser = Optimiser(lr=3.5e-3)
    rates = [optimiser.lr_at(epoch, step, 5, 7) for epoch in range(5) for step in range(7)]
    assert rates == [rate for rate in dassl_lr(3.5e-3, 5) for _ in range(7)]


def test_cosine_warms_up_linearly_then_falls_towards_zero():
    optimiser = Optimiser(kind="adamw", lr=1.0, schedule="cosine", warmup_steps=4)
    rates = [optimiser.lr_at(*divmod(at, 10), 2, 10) for at in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[12] == pytest.approx(0.5)  # half of the 16 steps after warm-up
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 15 / 16)))


def test_two_stages_are_a_cosine_each_and_end_at_the_floor():
    assert [first_stage(epochs) for epochs in (1, 2, 5, 192, 320)] == [1, 1, 3, 115, 192]
    whole = Optimiser(kind="adamw", lr=2e-4, schedule="cosine-floor")
    rates = [whole.lr_at(*divmod(at, 4), 3, 4) for at in range(12)]
    assert (rates[0], rates[6]) == pytest.approx((2e-4, (2e-4 + 1e-6) / 2))
    both = Optimiser(kind="adamw", lr=2e-4, schedule="two-stage")
    staged = [both.lr_at(*divmod(at, 4), 5, 4) for at in range(20)]
    assert staged[:12] == pytest.approx(rates)
    assert staged[12] == pytest.approx(2e-4)
    assert staged[16] == pytest.approx((2e-4 + 1e-6) / 2)
    assert min(rates) > 1e-6


def test_constant_only_warms_up():
    optimiser = Optimiser(lr=1.0, schedule="constant", warmup_steps=1)
    assert [optimiser.lr_at(0, step, 1, 3) for step in range(3)] == [0.5, 1.0, 1.0]


def test_default_sgd_is_momentum_with_coupled_decay():
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = Optimiser(lr=0.1).build([weight])
    value, velocity = 2.0, 0.0
    for _ in range(4):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        velocity = 0.9 * velocity + (1.0 + 5e-4 * value)
        value -= 0.1 * velocity
    assert weight.item() == pytest.approx(value, rel=1e-14)  # double rounding of four steps


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_spared_parameters_do_not_decay(kind):
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimiser = Optimiser(kind=kind, lr=0.1, weight_decay=0.5)
    optimizer = optimiser.build([weight, bias], no_decay=lambda p: p.ndim < 2)
    weight.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.equal(bias, torch.ones(2))
    assert (weight < 1).all()


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError, match=r"lr: .*-1.*momentum: .*1\.5.*clip_norm: .*0"):
        Optimiser(lr=-1, momentum=1.5, clip_norm=0)


def test_nothing_to_train_is_an_error():
    with pytest.raises(ConfigError, match="nothing to train"):
        Optimiser().build([])
