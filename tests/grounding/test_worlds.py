"""Scenes and crowds: determinism, truth of boxes, masks and expressions; sets kept in memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tests.data.reader import reading
from tests.grounding.truth import check_truth

from diffuprompt.data.scenes import Look, held_out
from diffuprompt.engine import read_tensors, write_tensors
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.grounding.worlds import scenes
from diffuprompt.grounding.worlds.labels import label_caption
from diffuprompt.grounding.worlds.made import MadeExpressions
from diffuprompt.grounding.worlds.making import PER_PICTURE, make_expressions, open_world
from diffuprompt.grounding.worlds.scenes import CROWDED, CrowdWorld, SceneWorld

Drawn = Literal["scenes", "crowds"]


@pytest.fixture(scope="module")
def made() -> MadeExpressions:
    return make_expressions("crowds", "val", seed=0, count=10)


@pytest.mark.parametrize("world", [SceneWorld, CrowdWorld])
def test_pictures_are_true(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []
    draw = scenes.references

    def spy(picture: Any, *args: Any, **values: Any) -> Any:
        found = draw(picture, *args, **values)
        seen.append((picture, found))
        return found

    monkeypatch.setattr(scenes, "references", spy)
    for index in range(12):
        check_truth(world(split="val", seed=0, count=4)(index))
    for picture, found in seen:
        for one in found:
            assert reading(one.text, picture.objects) == {one.target}, one.text
    assert sum(len(found) for _, found in seen) > 25


@pytest.mark.parametrize("world", [SceneWorld, CrowdWorld])
def test_a_picture_is_a_function_of_split_seed_and_index(world: Any) -> None:
    first, again = (world(split="test", seed=1, count=2)(5) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.references == again.references
    for other in (
        world(split="val", seed=1)(5),
        world(split="train", seed=1)(5),
        world(split="test", seed=2)(5),
        world(split="test", seed=1)(6),
    ):
        assert other.image.tobytes() != first.image.tobytes()
        assert other.name != first.name


def test_crowds_are_crowded() -> None:
    counts = [scenes._counts(Random(k)) for k in range(400)]
    assert {sum(one) for one in counts} == set(range(CROWDED[0], CROWDED[1] + 1))
    assert max(max(one) for one in counts) == 6
    picture = CrowdWorld(split="train", seed=0)(0)
    assert CROWDED[0] <= len(picture.boxes) <= CROWDED[1]


def looks(picture: Any) -> list[Look]:
    words = [said[3].split() for said in picture.words]  # colour, fill, shape
    return [Look(shape, colour, fill) for colour, fill, shape in words]


def test_training_shows_no_held_out_look_and_the_domain_means_nothing_else() -> None:
    train = open_world("scenes", "train", seed=0)
    assert not any(held_out(*look) for i in range(30) for look in looks(train(i)))
    world = open_world("scenes", "test", seed=0, domain="held-out")
    meant = [
        looks(picture)[one.target]
        for picture in map(world, range(30))
        for one in picture.references
    ]
    assert len(meant) > 10
    assert all(held_out(*look) for look in meant)


def test_styles_share_expressions_and_change_pictures() -> None:
    usual = make_expressions("scenes", "test", seed=3, count=6)
    drawn = make_expressions("scenes", "test", seed=4, count=6, domain="noisy")
    assert [usual[i] for i in range(6)] == [drawn[i] for i in range(6)]
    assert not torch.equal(usual.batch([0], 64).pixels, drawn.batch([0], 64).pixels)
    assert usual.content != drawn.content


def test_domains_that_a_world_has_not_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of usual for the val split of crowds"):
        make_expressions("crowds", "val", seed=0, count=1, domain="noisy")
    with pytest.raises(ConfigError, match="nothing is held out in training"):
        make_expressions("scenes", "train", seed=0, count=1, domain="held-out")


@pytest.mark.parametrize("world", ["scenes", "crowds"])
def test_counts_seeds_and_rows(world: Drawn) -> None:
    few, more = (make_expressions(world, "train", seed=1, count=n) for n in (5, 9))
    assert (len(few), len(more)) == (5, 9)
    assert [few[i] for i in range(5)] == [more[i] for i in range(5)]
    assert max(Counter(more[i].picture for i in range(9)).values()) == PER_PICTURE[world]
    assert make_expressions(world, "train", seed=2, count=5).content != few.content
    val = [make_expressions(world, "val", seed=seed, count=3).content for seed in (1, 2)]
    assert val[0] == val[1]


def test_workers_change_nothing() -> None:
    here, there = (make_expressions("scenes", "test", seed=0, count=20, workers=n) for n in (0, 1))
    assert here.content == there.content


def test_a_batch_has_each_rows_truth(made: MadeExpressions) -> None:
    rows = [7, 0, 3]
    batch = made.batch(rows, 128)
    assert batch.pixels.shape == (3, 3, 128, 128)
    assert batch.masks is not None
    for k, row in enumerate(rows):
        one, alone = made[row], made.batch([row], 128)
        assert (batch.texts[k], batch.roots[k]) == (one.text, one.root)
        assert torch.equal(batch.pixels[k], alone.pixels[0])
        assert batch.boxes[k].tolist() == list(one.box)
        ys, xs = batch.masks[k].nonzero().T
        tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert [float(v) for v in tight] == list(one.box)
        assert set(batch.masks[k].unique().tolist()) == {0.0, 1.0}
        world = CrowdWorld(split="val", seed=0, count=4)
        picture = world(int(one.picture.rsplit("/", 1)[1]))
        pixels = torch.from_numpy(np.asarray(picture.image).copy()).permute(2, 0, 1) / 255
        assert torch.equal(batch.pixels[k], pixels)


def test_a_resized_batch_scales_everything(made: MadeExpressions) -> None:
    whole, half = made.batch([2, 5], 128), made.batch([2, 5], 64)
    assert torch.equal(half.boxes, whole.boxes / 2)
    assert whole.masks is not None
    assert half.masks is not None
    assert half.masks.shape == (2, 64, 64)
    # resizing keeps the mean but at the border of the picture
    torch.testing.assert_close(half.masks.mean(), whole.masks.mean(), rtol=0.02, atol=0)
    torch.testing.assert_close(half.pixels.mean(), whole.pixels.mean(), rtol=0.02, atol=0)


def test_files_keep_everything(made: MadeExpressions, tmp_path: Path) -> None:
    tensors, texts = made.to_tensors()
    write_tensors(tmp_path / "made.safetensors", tensors, {})
    (tmp_path / "made.json").write_text(json.dumps(texts))
    read = MadeExpressions.from_tensors(
        read_tensors(tmp_path / "made.safetensors")[0],
        json.loads((tmp_path / "made.json").read_text()),
    )
    assert read.content == made.content
    assert [read[i] for i in range(len(read))] == [made[i] for i in range(len(made))]
    with pytest.raises(CheckpointError, match="as many expressions as masks, got 9 and 10"):
        MadeExpressions.from_tensors(tensors, texts[1:])
    with pytest.raises(CheckpointError, match="not the expressions of a made world"):
        MadeExpressions.from_tensors({}, texts)


def test_content_sees_every_part(made: MadeExpressions) -> None:
    tensors, texts = made.to_tensors()
    changed = [{**texts[0], "text": "the ring"}, *texts[1:]]
    found = {made.content, MadeExpressions.from_tensors(tensors, changed).content}
    for name, value in tensors.items():
        other = value.clone()
        other.view(-1)[-1] += 1
        found.add(MadeExpressions.from_tensors({**tensors, name: other}, texts).content)
    assert len(found) == 5


def test_captions_of_labels_name_everything_and_nothing_twice() -> None:
    picture = CrowdWorld(split="train", seed=0)(1)
    others = ["ring", "red ring", "gray solid object", "nothing", "nowhere"]
    labels = label_caption(picture, others, Random(0), absent=2)
    phrases = labels.text.rstrip(".").split(". ")
    assert len(set(phrases)) == len(phrases)
    for spans, words in zip(labels.spans, picture.words, strict=True):
        assert spans
        assert {labels.text[a:b] for a, b in spans} == set(words) & set(phrases)
    assert len([one for one in phrases if one in ("nothing", "nowhere")]) <= 2
