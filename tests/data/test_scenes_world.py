"""The world: determinism, truth of boxes and masks, held-out looks, styles."""

from __future__ import annotations

import sys
from collections import Counter
from subprocess import run

import numpy as np
import pytest

from diffuprompt.data.scenes import COLOURS, FILLS, SHAPES, STYLES, Look, held_out, scene, single
from diffuprompt.data.scenes.world import MIN_VISIBLE
from diffuprompt.errors import ConfigError


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_and_index_give_the_same_bytes(style: str) -> None:
    first, again = (scene(3, 7, style=style) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert [o.box for o in first.objects] == [o.box for o in again.objects]
    for other in (scene(4, 7, style=style), scene(3, 8, style=style)):
        assert first.image.tobytes() != other.image.tobytes()
    assert first.image.tobytes() != scene(3, 7, style=style, stream="other").image.tobytes()


@pytest.mark.parametrize("size", [32, 64, 97, 224])
def test_boxes_are_tight_masks_disjoint_and_inside(size: int) -> None:
    for index in range(12):
        made = scene(0, index, size=size)
        assert made.image.size == (size, size)
        assert made.image.mode == "RGB"
        cover = np.zeros((size, size), int)
        for item in made.objects:
            assert item.mask.shape == (size, size)
            cover += item.mask
            x0, y0, x1, y1 = item.box
            inside = item.mask[y0:y1, x0:x1]
            assert inside.sum() == item.mask.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
        assert cover.max() <= 1  # visible parts never overlap


def test_every_object_stays_mostly_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffuprompt.data.scenes import world

    seen: list[float] = []
    finish = world._finish

    def spy(placed: world._Placed) -> world.SceneObject:
        seen.append(placed.mask.sum() / placed.sprite.small.sum())
        return finish(placed)

    monkeypatch.setattr(world, "_finish", spy)
    for index in range(150):
        world.scene(1, index)
    assert min(seen) >= MIN_VISIBLE
    assert min(seen) < 1  # some occlusion does occur


def test_number_of_objects_and_full_pictures() -> None:
    counts = Counter(len(scene(2, i).objects) for i in range(120))
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    for size in (32, 64):
        for index in range(40):
            assert len(scene(2, index, num_objects=6, size=size).objects) == 6
    with pytest.raises(ConfigError, match="1 to 6 objects, got 7"):
        scene(0, 0, num_objects=7)


def test_pretraining_never_shows_a_held_out_look() -> None:
    looks = [
        (o.shape, o.colour, o.fill)
        for i in range(200)
        for o in scene(5, i, pretraining=True).objects
    ]
    assert not any(held_out(*look) for look in looks)
    free = [(o.shape, o.colour, o.fill) for i in range(50) for o in scene(5, i).objects]
    assert any(held_out(*look) for look in free)


def test_held_out_is_balanced() -> None:
    out = [
        look for s in SHAPES for c in COLOURS for f in FILLS if held_out(*(look := Look(s, c, f)))
    ]
    assert len(out) == 360  # 37.5 % of 960
    for shape in SHAPES:
        assert sum(look.shape == shape for look in out) == 18
    for fill in FILLS:
        assert 60 <= sum(look.fill == fill for look in out) <= 120
    for colour in COLOURS:
        assert 20 <= sum(look.colour == colour for look in out) <= 40


@pytest.mark.parametrize("shape", SHAPES)
def test_single_shows_its_look_uncovered(shape: str) -> None:
    look = Look(shape, "red")
    made = single(look, 0, 0, size=64, distractors=1)
    other, main = made.objects
    assert main.name == f"red {shape}"
    assert (other.shape == shape, other.colour == "red") == (False, False)
    pixels = np.asarray(made.image, float)[main.mask]
    red = np.array(COLOURS["red"], float)
    near = np.abs(np.median(pixels, axis=0) - red).max()
    assert near <= 14  # the colour varies by 12, and rounding


def test_the_subject_is_larger_than_its_distractors() -> None:
    for index in range(60):
        *others, main = single(Look("star", "red"), 1, index, distractors=2).objects
        assert len(others) == 2
        assert {o.size for o in others} == {"small"}
        assert main.size != "small"
        assert all(o.shape != "star" and o.colour != "red" for o in others)


def test_colour_names_stay_true_when_inverted() -> None:
    for colour in ("black", "white"):
        made = single(Look("square", colour), 0, 1, style="inverted")
        level = np.median(np.asarray(made.image)[made.objects[0].mask])
        assert abs(level - COLOURS[colour][0]) <= 26


def test_styles_share_truth_and_change_pixels() -> None:
    clean = scene(9, 1)
    for style in STYLES[1:]:
        other = scene(9, 1, style=style)
        assert [o.box for o in other.objects] == [o.box for o in clean.objects]
        assert other.image.tobytes() != clean.image.tobytes()


def test_unknown_words_name_the_near_miss() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'painted'"):
        scene(0, 0, style="paintd")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown shape 'blob'"):
        single(Look("blob", "red"), 0, 0)
    with pytest.raises(ConfigError, match="at least 32 pixels"):
        scene(0, 0, size=16)


def test_the_world_needs_no_torch() -> None:
    code = "import sys, diffuprompt.data.scenes.world; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
