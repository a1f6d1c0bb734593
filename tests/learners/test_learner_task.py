"""Order, views and resume of a learner's training."""

from __future__ import annotations

import pytest
import torch
from tests.contract.cases import build
from tests.contract.towers import NAMES, tower
from tests.contract.views import tiny_set

from diffuprompt.engine.loop import train
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.stages.learner_task import LearnerTask


def make(case="coop-words", *, count=7, seed=0, **config):
    clip = tower("plain-vit", torch.float64)
    data = tiny_set(clip, count, Classes(NAMES))
    settings = TrainConfig(**{"epochs": 3, "batch": 2, "lr": 0.1, **config})
    return LearnerTask(build(case, clip, moved=False), data, settings, seed)


def batches(task, epoch):
    """Which images each step of an epoch sees, and in which view."""
    seen = []
    original = task.learner.loss

    def spy(batch, classes, generator):
        seen.append((batch.index.tolist(), batch.features))
        return original(batch, classes, generator)

    task.learner.loss = spy
    for step in range(task.steps_per_epoch):
        task.loss(epoch, step)
    task.learner.loss = original
    return seen


def test_an_epoch_is_whole_batches_of_different_images():
    task = make(count=7, batch=2)
    assert task.steps_per_epoch == 3
    for epoch in (0, 1):
        index = [i for at, _ in batches(task, epoch) for i in at]
        assert len(index) == 6
        assert len(set(index)) == 6


def test_fewer_images_than_a_batch_are_one_step():
    task = make(count=3, batch=32)
    assert task.steps_per_epoch == 1
    ((index, _),) = batches(task, 0)
    assert sorted(index) == [0, 1, 2]


def test_order_depends_on_seed_and_epoch_only():
    first = [at for at, _ in batches(make(), 0)]
    assert first == [at for at, _ in batches(make("cocoop"), 0)]
    assert first != [at for at, _ in batches(make(), 1)]
    assert first != [at for at, _ in batches(make(seed=1), 0)]


@pytest.mark.parametrize(
    ("views", "asked"), [(0, [0, 1, 2, 3, 4]), (2, [0, 1, 0, 1, 0]), (1, [0, 0, 0, 0, 0])]
)
def test_every_epoch_sees_its_view(views, asked):
    task = make(views=views)
    for epoch, view in enumerate(asked):
        index, features = batches(task, epoch)[0]
        want = task.images.store.train(task.images.items, view)[index]
        assert torch.equal(features, want)


def test_labels_and_features_belong_together():
    task = make()
    batch = task.images.batch(torch.tensor([4, 1]))
    assert torch.equal(batch.labels, task.images.labels[[4, 1]])
    assert torch.equal(batch.features, task.images.features[[4, 1]])
    assert batch.index.tolist() == [4, 1]


@pytest.mark.parametrize("case", ["coop-random", "coop-per-class", "cocoop"])
def test_training_resumes_bit_for_bit(case, tmp_path):
    def run(task, folder):
        return train(
            task,
            task.optimiser(),
            epochs=3,
            steps_per_epoch=task.steps_per_epoch,
            folder=folder,
            save_every_s=0.0,
        )

    whole = make(case)
    run(whole, None)

    broken, original, calls = make(case), LearnerTask.loss, []

    def stop_at_five(epoch, step):
        calls.append((epoch, step))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(broken, epoch, step)

    broken.loss = stop_at_five
    with pytest.raises(KeyboardInterrupt):
        run(broken, tmp_path)
    resumed = make(case)
    result = run(resumed, tmp_path)
    assert result["steps"] == 9
    for name, tensor in whole.learner.state_dict().items():
        assert torch.equal(resumed.learner.state_dict()[name], tensor), name
    assert not torch.equal(broken.learner.ctx, whole.learner.ctx)
