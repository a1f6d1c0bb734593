"""Steps of a learner: order and views come from (seed, epoch, step) and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.data.manifest import Item
from diffuprompt.engine.loop import train
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import DataError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.learners.registry import build_learner
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.image_set import ImageSet, ahead
from diffuprompt.stages.learner_task import LearnerTask

COUNT = 10


class Watched(ImageSet):
    """Notes which images and which view every step asks for."""

    def batch(self, index: Tensor, view: int | None = None, **rest: Any) -> ImageBatch:
        self.__dict__.setdefault("asked", []).append((index.tolist(), view))
        return super().batch(index, view, **rest)


@pytest.fixture
def images(world: Path) -> Watched:
    store = FeatureStore(load_clip(world / "clip"), world / "colours", seed=0, workers=0)
    items = tuple(Item(f"{('red', 'white')[i % 2]}/{i // 2}.png", i % 2) for i in range(COUNT))
    return Watched(items, Classes(("red", "white")), store)


def task(images: ImageSet, seed: int = 1, **config: Any) -> LearnerTask:
    learner = build_learner(
        "coop", images.store.clip, {"num_ctx": 2}, generator=torch_stream(0, "init")
    )
    return LearnerTask(learner, images, TrainConfig(**{"epochs": 3, "lr": 0.1, **config}), seed)


def asked(images: Watched, *steps: tuple[int, int], seed: int = 1, **config: int) -> list:
    images.__dict__["asked"] = []
    work = task(images, seed, **config)
    for epoch, step in steps:
        work.loss(epoch, step)
    found: list = images.__dict__["asked"]
    return found


def test_a_step_depends_on_seed_epoch_and_step_only(images: Watched) -> None:
    torch.manual_seed(0)
    (alone,) = asked(images, (1, 2), batch=3)
    torch.manual_seed(1)  # the global state must not matter, nor the steps before
    before = asked(images, (0, 0), (0, 1), (1, 0), (1, 2), batch=3)
    assert before[-1] == alone
    assert asked(images, (1, 2), batch=3, seed=2) != [alone]
    assert asked(images, (2, 2), batch=3)[0][0] != alone[0]


def test_losses_are_equal_bit_for_bit_whatever_ran_before(images: Watched) -> None:
    alone = task(images, batch=4, views=3).loss(2, 1)["loss"]
    work = task(images, batch=4, views=3)
    for epoch in range(2):
        work.loss(epoch, 0)
    assert torch.equal(work.loss(2, 1)["loss"], alone)


def test_an_epoch_sees_whole_batches_without_repetition(images: Watched) -> None:
    work = task(images, batch=3)
    assert work.steps_per_epoch == 3  # the tenth image waits for another epoch
    seen = [i for index, _ in asked(images, (0, 0), (0, 1), (0, 2), batch=3) for i in index]
    assert len(seen) == len(set(seen)) == 9
    assert set(seen) < set(range(COUNT))


@pytest.mark.parametrize("batch", [COUNT, COUNT + 1, 100])
def test_a_set_that_fits_into_a_batch_is_one_step_with_all(images: Watched, batch: int) -> None:
    assert task(images, batch=batch).steps_per_epoch == 1
    ((index, _),) = asked(images, (0, 0), batch=batch)
    assert sorted(index) == list(range(COUNT))


def test_views_cycle_or_are_fresh(images: Watched) -> None:
    epochs = [(epoch, 0) for epoch in range(5)]
    assert [view for _, view in asked(images, *epochs, batch=5, views=2)] == [0, 1, 0, 1, 0]
    assert [view for _, view in asked(images, *epochs, batch=5)] == [0, 1, 2, 3, 4]


def test_the_last_batch_is_kept_where_the_recipe_says_so(images: Watched) -> None:
    work = task(images, batch=4, last_batch="keep")
    assert work.steps_per_epoch == 3
    every = [index for index, _ in asked(images, (0, 0), (0, 1), (0, 2), batch=4)]
    assert list(map(len, every)) == [4, 4, 2]
    assert sorted(i for index in every for i in index) == list(range(COUNT))


def test_unseen_views_are_behind_those_that_the_learner_was_started_on(images: Watched) -> None:
    learner = build_learner("tip-adapter-f", images.store.clip, {"views": 3})
    learner.start(images)
    for views, expected in ((0, [3, 4, 5]), (2, [3, 4, 3])):
        config = TrainConfig(epochs=3, batch=5, lr=0.1, views=views, unseen_views=True)
        work = LearnerTask(learner, images, config, 1)
        images.__dict__["asked"] = []
        for epoch in range(3):
            work.loss(epoch, 0)
        assert [view for _, view in images.__dict__["asked"]] == expected


def test_the_loss_is_the_learners_on_that_view(images: Watched) -> None:
    work = task(images, batch=4, views=2)
    ((index, view),) = asked(images, (3, 1), batch=4, views=2)
    assert view == 1
    at = torch.tensor(index)
    learner: Learner = work.learner
    features = images.store.train(images.items, view)[at]
    logits = learner.logits(ImageBatch(None, None, at, features), images.classes)
    labels = torch.tensor([images.items[i].label for i in index])
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.equal(work.loss(3, 1)["loss"], expected)


def test_state_holds_the_learnables_only(images: Watched) -> None:
    work, other = task(images, batch=4), task(images, batch=4)
    assert set(work.state()["learner"]) == {"ctx"}
    assert work.state()["training"] == {}
    with torch.no_grad():
        next(iter(other.parameters())).add_(1)
    other.load_state(work.state())
    assert torch.equal(other.learner.state_dict()["ctx"], work.learner.state_dict()["ctx"])
    assert work.optimiser().lr == 0.1
    assert work.optimiser().momentum == 0.9  # Dassl's recipe
    assert work.optimiser().schedule == "dassl"
    tuned = task(images, batch=4, algorithm="adamw", adam_eps=1e-4).optimiser()
    assert tuned.build(work.parameters()).defaults["eps"] == 1e-4


def test_reading_ahead_changes_no_bit_and_reads_every_step_once(images: Watched) -> None:
    config = {"batch": 3, "views": 2, "epochs": 2}
    alone = task(images, **config)
    expected = {(e, s): alone.loss(e, s)["loss"] for e in range(2) for s in range(3)}
    images.__dict__["asked"] = []
    with task(images, **config) as work:
        for at, loss in expected.items():
            assert torch.equal(work.loss(*at)["loss"], loss)
    found = images.__dict__["asked"]
    assert len(found) == len(expected)  # and none behind the last epoch
    assert found == asked(images, *expected, **config)


def test_a_resumed_task_reads_from_where_it_starts(images: Watched) -> None:
    config = {"batch": 3, "epochs": 3}
    expected = task(images, **config).loss(1, 1)["loss"]
    images.__dict__["asked"] = []
    with task(images, **config) as work:
        assert torch.equal(work.loss(1, 1)["loss"], expected)
        assert torch.equal(work.loss(0, 2)["loss"], task(images, **config).loss(0, 2)["loss"])
    (wanted,) = asked(images, (0, 0), **config)
    assert wanted not in images.__dict__["asked"][:-1]


def test_a_picture_that_cannot_be_read_ahead_stops_the_step_that_needs_it(images: Watched) -> None:
    def broken(index: Tensor, view: int | None = None, **rest: Any) -> ImageBatch:
        if view == 1:
            raise DataError("red/0.png: damaged image")
        return ImageSet.batch(images, index, view, **rest)

    images.__dict__["batch"] = broken
    with task(images, batch=5) as work:
        work.loss(0, 0)
        work.loss(0, 1)
        with pytest.raises(DataError, match="damaged image"):
            work.loss(1, 0)


def test_what_is_made_ahead_comes_in_order_and_never_more_than_two() -> None:
    alive: list[int] = []

    def make(number: int) -> int:
        alive.append(number)
        if number == 7:
            raise DataError("seven")
        return 10 * number

    for count in (0, 1, 5):
        assert list(ahead(make, range(count))) == [(n, 10 * n) for n in range(count)]
    alive.clear()
    for number, made in ahead(make, range(6)):
        assert made == 10 * number
        assert max(alive) <= number + 1
    with pytest.raises(DataError, match="seven"):
        list(ahead(make, range(9)))
    assert max(alive) == 7


def test_rows_are_the_features_with_or_without_all_in_memory(images: Watched) -> None:
    index = torch.tensor([7, 0, 7, 3])
    fresh = images.rows(index)
    assert "features" not in images.__dict__
    assert torch.equal(fresh, images.features[index])
    assert torch.equal(images.rows(index), fresh)


def test_a_projection_trains_on_states_that_were_made_ahead(
    images: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = build_learner("prolip", images.store.clip, {})
    learner.start(images)
    before = learner.projection.detach().clone()
    task = LearnerTask(learner, images, TrainConfig(epochs=3, batch=4, lr=0.1, views=2), seed=0)
    task.warm()
    monkeypatch.setattr(FeatureStore, "_encode", None)  # what is computed from here on fails
    with task:
        train(task, task.optimiser(), epochs=3, steps_per_epoch=task.steps_per_epoch)
    assert not torch.equal(learner.projection, before)
    assert {view for _, view in images.asked} == {0, 1}
    batch = images.batch(torch.arange(3), 1, needs=learner.needs)
    assert batch.features is None
    assert batch.pooled is not None
