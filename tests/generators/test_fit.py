"""Training learns p(V* given the feature), and resumes bit for bit."""

from __future__ import annotations

import pytest
import torch
from tests.contract.generators import SMALL, shrink_networks
from tests.generators.toy import BOTH, SPEC, bits, linear_pairs, make, make_any, moved, never, part

from diffuprompt.diffusion.loss import denoising_loss
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import CheckpointError, ConfigError, TrainingError
from diffuprompt.generators import fitting
from diffuprompt.generators.config import FitConfig
from diffuprompt.generators.fitting import fit, make_task, quality
from diffuprompt.generators.kinds import KINDS
from diffuprompt.generators.types import PromptPairs

pytestmark = pytest.mark.usefixtures("_small")


def test_fit_learns_a_linear_map_and_beats_the_mean():
    """V* - V0 = A f: held-out error of samples, as a share of the residual's own size."""
    pairs = linear_pairs(320)
    train, held = part(pairs, slice(0, 256)), part(pairs, slice(256, 320))
    generator = make(epochs=40, batch=32, ce_weight=0.0)

    @torch.no_grad()
    def loss():
        target = (held.target - held.initial) / 0.05
        denoise = generator.denoise(held.features)
        stream = torch_stream(0, "held")
        return float(denoising_loss(denoise, target, generator.schedule, generator=stream).loss)

    before = loss()
    result = fit(generator, train, never)
    assert result["steps"] == 40 * 8
    assert result["loss"] == result["diffusion"] < 0.3
    assert not generator.training
    # Untrained it answers 0, whose error is the target's variance (1.4 here); measured after: 0.3.
    assert loss() < 0.4 * before

    def error(flat):
        return float((flat - held.target).square().mean() / (held.target - held.initial).var())

    with torch.no_grad():
        ours = error(generator.sample(held.features, held.initial))
    mean = error(held.initial + (train.target - train.initial).mean(0))
    assert mean > 0.9
    assert ours < 0.4 * mean  # measured: a quarter


@pytest.mark.parametrize("name", list(KINDS))
def test_bf16_trains_almost_the_same_network(name):
    """Weights stay in fp32; what rounding of products changes is small beside what was learned."""
    pairs = linear_pairs(16)

    def trained(precision):
        generator = make_any(name, epochs=4, ce_weight=0.0)
        generator.precision = precision
        fit(generator, pairs, never)
        assert {p.dtype for p in generator.parameters()} == {torch.float32}
        with torch.no_grad():
            return generator.sample(pairs.features, pairs.initial) - pairs.initial

    full, mixed = trained("fp32"), trained("bf16")
    assert not torch.equal(full, mixed)
    error = (full - mixed).square().mean().sqrt() / full.square().mean().sqrt()
    assert error < 0.1


@pytest.mark.parametrize(("images", "epochs"), [(8, 25), (16, 13), (1, 50)])
def test_without_a_number_of_epochs_few_images_are_looked_at_more_often(
    monkeypatch, images, epochs
):
    monkeypatch.setattr(fitting, "STEPS", 50)
    pairs = linear_pairs(images)
    generator = make(epochs=0, batch=4, ce_weight=0.0)
    assert make_task(generator, pairs, never).epochs == epochs
    steps = fit(generator, pairs, never)["steps"]
    assert 50 <= steps < 50 + max(1, images // 4)


def test_noise_on_the_condition_is_relative_to_it():
    condition = linear_pairs(64).features * 7
    stream = torch_stream(0, "blur")
    assert fitting.blurred(condition, 0.0, stream) is condition
    noisy = fitting.blurred(condition, 0.5, stream)
    share = (noisy - condition).norm(dim=1) / condition.norm(dim=1)
    assert share.square().mean().sqrt() == pytest.approx(0.5, rel=0.15)  # 64 x 6 draws


def test_noise_on_the_condition_keeps_few_images_from_being_learned_by_heart():
    """Without it each image has one answer; with it draws differ."""
    pairs = linear_pairs(8)
    told = {}
    for size in (0.0, 1.5):
        generator = make(epochs=150, batch=8, ce_weight=0.0, condition_noise=size)
        fit(generator, pairs, never)
        told[size] = quality(generator, pairs)
    assert told[1.5]["generated_spread"] > 1.5 * told[0.0]["generated_spread"]
    assert told[1.5]["generated_mse"] > told[0.0]["generated_mse"]


def test_the_average_weights_stay_in_place():
    """With ema 0 they are the last weights; with a long memory they lag behind."""
    pairs = linear_pairs(16)
    fast, slow = make(ema=0.0, epochs=4, ce_weight=0.0), make(ema=0.999, epochs=4, ce_weight=0.0)
    for generator in (fast, slow):
        fit(generator, pairs, never)
    start = make()
    names = [n for n, _ in start.network.named_parameters() if n.startswith("codec.decoders")]

    def distance(generator):
        own, first = (
            dict(generator.network.named_parameters()),
            dict(start.network.named_parameters()),
        )
        return sum(float((own[n] - first[n]).detach().norm()) for n in names)

    assert 0 < distance(slow) < distance(fast)


def test_the_loss_is_ce_plus_beta_times_diffusion():
    pairs = linear_pairs(16)
    generator = make(beta=3.0, ce_weight=0.25, epochs=1)
    result = fit(generator, pairs, lambda flat, index: flat.square().mean())
    assert result["loss"] == pytest.approx(
        0.25 * result["ce"] + 3.0 * result["diffusion"], rel=1e-5
    )


def test_no_ce_weight_never_asks_the_task_loss():
    generator = make(ce_weight=0.0)
    result = fit(generator, linear_pairs(16), never)
    assert "ce" not in result


@pytest.mark.parametrize(("samples", "expected"), [(0, 4), (1, 1), (3, 3), (9, 4)])
def test_the_task_loss_sees_some_images_of_each_batch(samples, expected):
    pairs, seen = linear_pairs(10), []

    def task_loss(flat, index):
        assert flat.shape == (expected, SPEC.size)
        assert flat.requires_grad
        seen.append(index.tolist())
        return flat.square().mean()

    fit(make(ce_samples=samples), pairs, task_loss)
    assert len(seen) == 2 * (10 // 4)
    assert all(len(set(index)) == expected for index in seen)
    assert len({i for index in seen for i in index}) > expected


def test_the_task_loss_sees_prompts_of_its_images():
    """Untrained, the guess is the images' own prompts."""
    pairs = linear_pairs(10)

    def task_loss(flat, index):
        torch.testing.assert_close(flat, pairs.initial[index], rtol=0, atol=1e-6)
        return flat.square().mean()

    fit(make(lr=1e-30, weight_decay=0.0, ce_samples=0), pairs, task_loss)


def test_the_task_loss_sees_residuals_of_the_targets_size():
    """The network works on unit size: ten times the residuals, ten times the guess."""

    def guesses(size):
        pairs, seen = linear_pairs(10, dtype=torch.float64), []
        residual = size * (pairs.target - pairs.initial)
        generator = moved(lr=1e-30, weight_decay=0.0, ema=0.0)
        generator.network.requires_grad_(True)

        def task_loss(flat, index):
            seen.append((flat - pairs.initial[index]).detach())
            return flat.square().mean()

        fit(
            generator,
            PromptPairs(pairs.features, pairs.initial, pairs.initial + residual),
            task_loss,
        )
        return torch.cat(seen)

    one = guesses(1.0)
    assert float(one.abs().max()) > 1e-2
    torch.testing.assert_close(guesses(10.0), 10 * one, rtol=1e-4, atol=1e-5)  # float32 scale


def test_guesses_at_high_noise_can_be_left_out():
    pairs, seen = linear_pairs(40), []

    def task_loss(flat, index):
        seen.append(len(index))
        return flat.square().mean()

    fit(make(ce_samples=0, ce_max_sigma=1.0, batch=8, epochs=4), pairs, task_loss)
    # about a quarter of uniform times has sigma below 1 (reference: 74 % above it)
    assert 0.1 < sum(seen) / (4 * 40) < 0.45
    fit(make(ce_samples=0, ce_max_sigma=1e-9, batch=8), pairs, never)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("stop_at", [1, 5, 10])
def test_fit_resumes_bit_for_bit(stop_at, dropout, tmp_path, monkeypatch):
    """Interrupted inside the task loss of one step; a new process continues at that step."""
    config = {**vars(SMALL), "dropout": dropout}
    shrink_networks(monkeypatch, type(SMALL)(**config))
    pairs, calls = linear_pairs(20, BOTH), []

    def task_loss(flat, index):
        calls.append(index)
        return flat.square().mean()

    whole = make(BOTH)
    want = fit(whole, pairs, task_loss, folder=tmp_path / "whole", fingerprint="f")
    assert len(calls) == 10

    def broken(flat, index):
        if len(calls) == stop_at - 1:
            raise KeyboardInterrupt
        return task_loss(flat, index)

    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        fit(make(BOTH), pairs, broken, folder=tmp_path / "run", fingerprint="f", save_every_s=0)
    calls.clear()
    again = make(BOTH)
    got = fit(again, pairs, task_loss, folder=tmp_path / "run", fingerprint="f")
    assert len(calls) == 10 - (stop_at - 1)
    assert bits(again) == bits(whole)
    assert {k: v for k, v in got.items() if k != "seconds"} == {
        k: v for k, v in want.items() if k != "seconds"
    }


def test_a_finished_fit_is_only_loaded(tmp_path):
    pairs = linear_pairs(16)
    first, second = make(), make()
    fit(first, pairs, lambda flat, index: flat.square().mean(), folder=tmp_path, fingerprint="f")
    fit(second, pairs, never, folder=tmp_path, fingerprint="f")
    assert bits(first) == bits(second)
    with pytest.raises(CheckpointError, match="another run"):
        fit(make(), pairs, never, folder=tmp_path, fingerprint="other")


def test_fit_leaves_the_pairs_and_the_global_stream():
    pairs = linear_pairs(16)
    kept = PromptPairs(*(t.clone() for t in vars(pairs).values()))
    state = torch.get_rng_state()
    fit(make(), pairs, lambda flat, index: flat.square().mean())
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in vars(kept).items():
        assert torch.equal(getattr(pairs, name), tensor), name


def test_targets_equal_to_the_own_prompts_are_an_error():
    pairs = linear_pairs(16)
    with pytest.raises(TrainingError, match="did not move the text prompts"):
        fit(make(), PromptPairs(pairs.features, pairs.initial, pairs.initial), never)


def test_fewer_images_than_a_batch_are_one_step():
    result = fit(make(batch=32, ce_weight=0.0), linear_pairs(5), never)
    assert result["steps"] == 2


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"beta": 0.0}, "fit.beta"),
        ({"classes": 8}, "fit.classes"),
        ({"mode": "joint"}, "fit.mode"),
    ],
)
def test_settings_that_would_train_nothing_are_refused(settings, field):
    with pytest.raises(ConfigError, match=field):
        FitConfig(**settings)
    FitConfig(**settings, ce_weight=1.0)
