"""The controls are what their names say, or a comparison with them would mean nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.generators.toy import FEATURES, SPEC, linear_pairs, make_any, moved, part, randn

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.controls import NoiseFeatures
from diffuprompt.generators.kinds import KINDS
from diffuprompt.jobs.evaluation import LABEL_FREE, REGRESSION
from diffuprompt.stages.makers import control_prompts as control
from diffuprompt.stages.score import Ask

pytestmark = pytest.mark.usefixtures("_small")
EXACT = {"rtol": 0, "atol": 1e-9}  # float64 rounding through the network


@pytest.fixture
def generator():
    return moved()


@pytest.fixture
def pairs():
    return part(linear_pairs(30, dtype=torch.float64), slice(0, 20))


@pytest.fixture
def test_set():
    """Six images that are not among the pairs: features and own prompts."""
    rest = part(linear_pairs(30, dtype=torch.float64), slice(20, 26))
    return rest.features, rest.initial


class Images:
    """A test set of which only the features are asked for."""

    def __init__(self, features):
        self.features = features

    def __len__(self):
        return len(self.features)

    def rows(self, index):
        return self.features[index]


def control_prompts(generator, pairs, seed):
    """Every control that needs no label, as `control(features, own)` of a whole test set."""

    def call(name):
        def made(features, own, size=64):
            make = control(name, generator, Images(features), lambda: pairs, seed)
            parts = torch.arange(len(features)).split(size)
            return torch.cat([make(Ask(at, features[at], own[at])) for at in parts])

        return made

    kind = KINDS[generator.name]
    return {name: call(name) for name in LABEL_FREE if kind.stepwise or name != REGRESSION}


@pytest.fixture
def controls(generator, pairs):
    return control_prompts(generator, pairs, seed=4)


def test_every_control_has_the_shape_and_repeats_itself(controls, test_set):
    assert set(controls) == {"regression", "shuffled", "noise", "nearest", "mean"}
    for name, made in controls.items():
        flat = made(*test_set)
        assert flat.shape == test_set[1].shape, name
        assert torch.equal(flat, made(*test_set)), name


@pytest.mark.parametrize("name", ["mlp", "flow"])
def test_a_rival_has_all_but_the_regression(name, pairs, test_set):
    """It is one itself, or its noise hides nothing that one evaluation could see through."""
    controls = control_prompts(make_any(name).double(), pairs, seed=4)
    assert set(controls) == {"shuffled", "noise", "nearest", "mean"}
    assert all(control(*test_set).shape == test_set[1].shape for control in controls.values())


def test_shuffled_is_a_permutation_of_the_samples(controls, generator, test_set):
    features, own = test_set
    samples = generator.sample(features, own) - own
    shuffled = controls["shuffled"](features, own) - own
    distance = (shuffled[:, None] - samples[None]).abs().amax(-1)
    origin = distance.argmin(1)
    assert float(distance.amin(1).max()) < 1e-9
    assert sorted(origin.tolist()) == list(range(6))
    assert origin.tolist() != list(range(6))


def test_another_seed_shuffles_otherwise(generator, pairs, test_set):
    one, two = (control_prompts(generator, pairs, seed)["shuffled"](*test_set) for seed in (4, 5))
    assert not torch.equal(one, two)


def test_nearest_takes_the_row_of_the_most_similar_direction(generator, pairs):
    """Only directions count, of the bank's features (from 1 to 20 long here) and of the image's."""
    pairs = replace(pairs, features=torch.arange(1, 21)[:, None] * pairs.features)
    controls = control_prompts(generator, pairs, seed=4)
    chosen = torch.tensor([7, 0, 19, 7])
    noise = 1e-3 * randn(4, FEATURES, name="nearby")
    lengths = torch.tensor([[0.01], [1.0], [50.0], [3.0]])
    features, own = lengths * (pairs.features[chosen] + noise), randn(4, SPEC.size, name="own")
    want = own + (pairs.target - pairs.initial)[chosen]
    torch.testing.assert_close(controls["nearest"](features, own), want, **EXACT)


def test_mean_is_the_mean_residual(controls, pairs, test_set):
    features, own = test_set
    want = sum((pairs.target - pairs.initial).unbind(0)) / 20
    got = controls["mean"](features, own) - own
    torch.testing.assert_close(got, want.expand_as(got), **EXACT)


def test_regression_depends_on_the_feature_only(controls, generator, test_set):
    """Not on the own prompts, not on the other images."""
    features, own = test_set
    residual = controls["regression"](features, own) - own
    other = controls["regression"](features, 3 * own) - 3 * own
    torch.testing.assert_close(other, residual, **EXACT)
    alone = controls["regression"](features[2:3], own[2:3]) - own[2:3]
    torch.testing.assert_close(alone, residual[2:3], **EXACT)
    twins = controls["regression"](features[[1, 1]], own[[1, 2]]) - own[[1, 2]]
    torch.testing.assert_close(twins[0], twins[1], **EXACT)
    assert float((residual[0] - residual[1]).abs().max()) > 1e-4


def test_regression_does_not_start_from_little_noise(test_set):
    """Samples that start near the own prompts, or are averaged, leave the regression as it is."""
    features, own = test_set
    plain = moved()
    for other in (moved(sigma_start=0.5), moved(ensemble=2)):
        other.load_state_dict(plain.state_dict())
        assert torch.equal(other.regression(features, own), plain.regression(features, own))


def test_regression_is_one_evaluation(generator, pairs, test_set, monkeypatch):
    calls, network = [], generator.network
    original = network.forward
    monkeypatch.setattr(network, "forward", lambda *a, **k: calls.append(1) or original(*a, **k))
    control_prompts(generator, pairs, seed=4)["regression"](*test_set)
    assert len(calls) == 1


def test_noise_ignores_the_features(controls, generator, test_set):
    features, own = test_set
    got = controls["noise"](features, own)
    torch.testing.assert_close(controls["noise"](5 + features.flip(0), own), got, **EXACT)
    assert float((got - generator.sample(features, own)).abs().max()) > 1e-3
    assert float(((got - own)[0] - (got - own)[1]).abs().max()) > 1e-4


@pytest.mark.parametrize("size", [1, 2, 4])
def test_controls_by_batch_are_controls_of_all(generator, pairs, monkeypatch, size):
    """They took no notice of batches: all images' prompts existed at once."""
    monkeypatch.setattr("diffuprompt.stages.score.BATCH", size)
    features, own = randn(7, FEATURES, name="more"), randn(7, SPEC.size, name="more own")
    controls = control_prompts(generator, pairs, seed=4)
    del controls["noise"]  # the stream is read by the batch, whose size is part of a score's key
    for name, made in controls.items():
        whole, parts = made(features, own), made(features, own, size)
        torch.testing.assert_close(parts, whole, **EXACT, msg=name)


def test_noise_of_batches_is_that_of_all_at_once_and_of_a_resumed_evaluation():
    width = 16  # torch draws normal numbers sixteen at a time
    drawn = NoiseFeatures(width, 3, seed=4)
    parts = [drawn(start, count) for start, count in ((0, 3), (3, 3), (6, 2))]
    everyone = torch.randn(8, width, generator=torch_stream(4, "noise-pi"))
    assert torch.equal(torch.cat(parts), everyone)
    resumed = NoiseFeatures(width, 3, seed=4)
    assert torch.equal(resumed(6, 2), parts[2])
    with pytest.raises(ValueError, match="expected a batch from 8 on, got 3"):
        resumed(3, 3)
