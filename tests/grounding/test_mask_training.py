"""Training of stages 1 and 2: losses fall, and an interrupted one ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.grounding.mask_parts import SMALL, condition_of, drawn, generator_of, stream, tokens_of

from diffuprompt.engine import Task, torch_stream, train
from diffuprompt.errors import ConfigError, DataError, TrainingError
from diffuprompt.grounding.masks.condition import joined
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.fits import GeneratorFit, VaeFit
from diffuprompt.grounding.masks.generator import told_by
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae, VaeConfig
from diffuprompt.grounding.masks.training import (
    Batches,
    GeneratorTask,
    NetworkTask,
    VaeTask,
    mean_latents,
)

COUNT = 6


def masks() -> torch.Tensor:
    """Squares of half the side, as bytes."""
    found = torch.zeros(COUNT, 32, 32, dtype=torch.uint8)
    for i in range(COUNT):
        found[i, 2 * i : 2 * i + 16, 3 * i : 3 * i + 16] = 255
    return found


def vae_task() -> VaeTask:
    return VaeTask(MaskVae(VaeConfig(), generator=stream()), masks(), batch=2, seed=1)


def generator_task(kind: str = "tokens") -> GeneratorTask:
    condition = condition_of(kind, COUNT).to(torch.float16)
    latents = drawn(COUNT, 4, 4, 4)
    return GeneratorTask(generator_of(kind), condition, latents, masks(), batch=2, seed=1, ema=0.9)


def independent_task() -> GeneratorTask:
    condition = tokens_of(COUNT)
    model = IndependentMasks(EncoderConfig(**SMALL), condition.widths(), generator=stream())
    return GeneratorTask(model, condition, drawn(COUNT, 4, 4, 4), masks(), batch=2, seed=1)


def network_task() -> NetworkTask:
    model = generator_of()
    assert model.encoder is not None
    with torch.no_grad():
        told = told_by(model.encoder(tokens_of(COUNT)))
    return NetworkTask(model, told, drawn(COUNT, 4, 4, 4), batch=2, seed=1)


class Killed(RuntimeError):
    pass


def run(task: Task, fit: Any, folder: Path, *, until: int | None = None) -> None:
    """Train six steps; ``until`` ends the process's part there, with everything saved."""
    if until is not None:
        loss = task.loss

        def short(epoch: int, step: int) -> Any:
            if step == until:
                raise Killed
            return loss(epoch, step)

        task.loss = short
    every = 30.0 if until is None else 0.0
    train(task, fit.optimiser(), **fit.plan(COUNT), folder=folder, save_every_s=every)


@pytest.mark.parametrize(
    ("make", "fit"),
    [
        (vae_task, VaeFit(steps=6)),
        (generator_task, GeneratorFit(steps=6)),
        (independent_task, GeneratorFit(steps=6)),
        (network_task, GeneratorFit(steps=6)),
    ],
)
def test_an_interrupted_training_ends_with_the_same_bits(
    make: Any, fit: Any, tmp_path: Path
) -> None:
    whole = make()
    run(whole, fit, tmp_path / "whole")
    with pytest.raises(Killed):
        run(make(), fit, tmp_path / "parts", until=4)
    resumed = make()
    run(resumed, fit, tmp_path / "parts")
    _same(whole.state(), resumed.state())
    with pytest.raises(AssertionError):
        _same(whole.state(), make().state())


def _same(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        for key in one:
            _same(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            _same(a, b)
    else:
        assert one == other


def test_the_network_alone_learns_what_it_would_with_its_frozen_encoder() -> None:
    task = network_task()
    encoder = {n: v.clone() for n, v in task.network.encoder.state_dict().items()}
    rows = task.batches.rows(0, 0)
    stream = torch_stream(1, "network noise", 0, 0)
    condition = tokens_of(COUNT).rows(rows)
    whole = task.network.losses(condition, task.latents[rows], masks()[rows][:, None] / 255, stream)
    torch.testing.assert_close(task.loss(0, 0)["denoise"], whole["denoise"])
    train(task, GeneratorFit(steps=3, batch=2).optimiser(), epochs=1, steps_per_epoch=3)
    _same(encoder, task.network.encoder.state_dict())
    _same({n: v for n, v in task.averaged().items() if n.startswith("encoder.")},
          {f"encoder.{n}": v for n, v in encoder.items()})  # fmt: skip
    with pytest.raises(DataError, match="one latent for each"):
        NetworkTask(task.network, task.told, task.latents[1:], batch=2, seed=1)


@pytest.mark.parametrize("make", [vae_task, generator_task, network_task])
def test_losses_fall(make: Any) -> None:
    task = make()
    fit = (VaeFit if isinstance(task, VaeTask) else GeneratorFit)(steps=30, batch=2, warmup=0)
    first = sum(float(task.loss(0, step)["loss"].detach()) for step in range(3))
    train(task, fit.optimiser(), **fit.plan(COUNT))
    assert sum(float(task.loss(0, step)["loss"].detach()) for step in range(3)) < 0.9 * first


def test_a_mask_autoencoder_that_diverges_says_so() -> None:
    """Without the loop's guard a mask autoencoder would be saved that is not a number."""
    task = vae_task()
    with torch.no_grad():
        task.vae.network.decoder[-2].weight.mul_(torch.inf)
    fit = VaeFit.preset("paper", epochs=1, batch=2)
    with pytest.raises(TrainingError, match="loss"):
        train(task, fit.optimiser(), **fit.plan(COUNT))


def test_averages_follow_the_weights() -> None:
    task = generator_task("pooled")
    before = {name: value.clone() for name, value in task.generator.state_dict().items()}
    train(task, GeneratorFit(steps=2, warmup=0).optimiser(), epochs=1, steps_per_epoch=2)
    now, averaged = task.generator.state_dict(), task.averaged()
    name = "dit.out.weight"
    assert not torch.equal(before[name], now[name])
    between = (averaged[name] - before[name]).abs() <= (now[name] - before[name]).abs() + 1e-4
    assert float(between.float().mean()) > 0.9
    assert torch.equal(task.generator.state_dict()[name], now[name])


def test_latents_are_normalised_means() -> None:
    vae = MaskVae(VaeConfig(), generator=stream())
    latents = mean_latents(vae, masks(), measure=True)
    assert latents.shape == (COUNT, 4, 4, 4)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    assert float(latents.square().mean()) == pytest.approx(1, abs=1e-3)
    means = vae.encode(masks()[:, None].float() / 255)[0]
    torch.testing.assert_close(vae.restored(latents), means.detach(), rtol=1e-4, atol=1e-4)
    assert torch.equal(mean_latents(vae, masks() > 0), latents)


def test_every_pass_sees_every_row_once() -> None:
    batches = Batches(7, 2, seed=3)
    first = torch.cat([batches.rows(0, step) for step in range(3)]).tolist()
    second = torch.cat([batches.rows(0, step) for step in range(3, 6)]).tolist()
    assert len(set(first)) == len(set(second)) == 6
    assert first != second
    assert batches.rows(0, 1).tolist() == first[2:4]  # whatever was asked before
    assert Batches(7, 2, seed=4).rows(0, 0).tolist() != first[:2]
    assert len(Batches(3, 64, seed=3).rows(0, 9)) == 3


def test_recipes() -> None:
    assert VaeFit().plan(1000) == {"epochs": 1, "steps_per_epoch": 500}
    paper = VaeFit.preset("paper")
    assert (paper.lr, paper.kind, paper.plan(1280)) == (
        0.05,
        "adam",
        {"epochs": 200, "steps_per_epoch": 10},
    )
    assert VaeFit.preset("released").lr == 0.005
    second = GeneratorFit.preset("paper")
    assert (second.lr, second.kind, second.batch, second.epochs) == (1e-4, "adamw", 128, 100)
    with pytest.raises(ConfigError, match="either steps or epochs"):
        VaeFit(epochs=3)
    with pytest.raises(ConfigError, match="expected one of"):
        GeneratorFit.preset("old")


def test_sets_that_do_not_fit_are_refused() -> None:
    condition = joined([tokens_of(2), tokens_of(2)])
    made = generator_of()
    with pytest.raises(DataError, match="got 4, 5 and 6"):
        GeneratorTask(made, condition, drawn(5, 4, 4, 4), masks(), batch=2, seed=1)
    with pytest.raises(DataError, match="pass them as bool"):
        VaeTask(MaskVae(VaeConfig(), generator=stream()), masks() // 255, batch=2, seed=1)
    with pytest.raises(DataError, match="nothing to train on"):
        Batches(0, 2, seed=1)
