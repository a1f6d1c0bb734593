"""RandAugment's operations and the views made by name."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from diffuprompt.data.augment import AUGMENTS, get_augment
from diffuprompt.data.randaugment import OPERATIONS, randaugment
from diffuprompt.data.transforms import Preprocess
from diffuprompt.errors import ConfigError


def picture(width: int = 60, height: int = 48) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


class Fixed(random.Random):
    """Chooses one operation; signs are positive."""

    def __init__(self, index: int) -> None:
        super().__init__(0)
        self.index = index

    def choices(self, population, k=1, **_):  # type: ignore[no-untyped-def,override]
        return [population[self.index]] * k

    def random(self) -> float:
        return 0.25


def applied(index: int, magnitude: float = 10) -> np.ndarray:
    return np.asarray(randaugment(picture(), Fixed(index), 1, magnitude)).astype(int)


def test_values_at_magnitude_ten_of_thirty() -> None:
    """Formulas of single operations, written out; places are those of the published list."""
    x = np.asarray(picture()).astype(int)
    assert len(OPERATIONS) == 16
    assert (applied(2) == 255 - x).all()  # invert
    assert (applied(4) == x & 0b11111000).all()  # posterize: int(4 + 1/3 * 4) = 5 bits
    threshold = int(256 / 3)
    assert (applied(5) == np.where(x < threshold, x, 255 - x)).all()  # solarize
    added = np.minimum(x + int(110 / 3), 255)
    assert (applied(6) == np.where(added < 128, added, 255 - added)).all()  # solarize add
    shift = 100 / 3
    moved = applied(14)  # output (c) reads input (c + shift), nearest; outside is black
    columns = np.floor(np.arange(60) + 0.5 + shift).astype(int)
    inside = columns < 60
    assert (moved[:, inside] == x[:, columns[inside]]).all()
    assert (moved[:, ~inside] == 0).all()
    brightness = applied(9)  # factor 0.1 + 1/3 * 1.8 = 0.7
    assert np.abs(brightness - 0.7 * x).max() <= 1
    contrast = 0.1 + 1.8 / 3
    assert contrast == pytest.approx(0.7)
    cut = applied(13)
    changed = (cut != x).any(2)
    assert (cut[changed] == (125, 123, 114)).all()
    assert 0 < changed.sum() <= 15 * 15


def test_extremes_of_the_ranges() -> None:
    x = np.asarray(picture()).astype(int)
    for index in (3, 11, 12, 14, 15):  # geometry at magnitude 0 is the identity
        assert (applied(index, 0) == x).all()
    assert (applied(4, 30) == x).all()  # 8 bits


def test_the_sign_of_geometry_is_drawn() -> None:
    class Negative(Fixed):
        def random(self) -> float:
            return 0.75

    left = np.asarray(randaugment(picture(), Fixed(14), 1))
    right = np.asarray(randaugment(picture(), Negative(14), 1))
    assert (left[:, -1] == 0).all()
    assert (right[:, 0] == 0).all()


@pytest.mark.parametrize("index", range(16))
@pytest.mark.parametrize("magnitude", [0, 10, 30])
def test_every_operation_keeps_size_and_mode(index: int, magnitude: float) -> None:
    out = randaugment(picture(), random.Random(index), 3, magnitude)
    assert (out.size, out.mode) == ((60, 48), "RGB")
    assert applied(index, magnitude).shape == (48, 60, 3)


@pytest.mark.parametrize("name", AUGMENTS)
def test_views_come_from_their_stream_only(name: str) -> None:
    preprocess, make = Preprocess.for_size(32), get_augment(name)
    one = make(preprocess, picture(), random.Random(5))
    random.seed(1)
    assert one.shape == (3, 32, 32)
    assert (one == make(preprocess, picture(), random.Random(5))).all()
    assert not (one == make(preprocess, picture(), random.Random(6))).all()


def test_randaugment_sees_the_whole_picture_squashed() -> None:
    """No crop: without a change every pixel is that of the squashed picture."""
    preprocess = Preprocess.for_size(24)
    got = preprocess.squashed_view(picture(), lambda image: image)
    small = picture().resize((24, 24), Image.Resampling.BICUBIC)
    assert (got == preprocess._normalised(np.asarray(small))).all()


def test_large_crops_are_at_least_half_of_the_picture() -> None:
    from diffuprompt.data.augment import LARGE_CROP
    from diffuprompt.data.transforms import random_crop_box

    rng = random.Random(0)
    for _ in range(200):
        _, _, height, width = random_crop_box(48, 60, rng, LARGE_CROP)
        assert height * width >= 0.5 * 48 * 60 * 0.97  # sides are rounded


def test_an_unknown_augmentation_gets_the_near_miss() -> None:
    with pytest.raises(ConfigError, match=r"train\.augment: .*Did you mean 'randaugment'"):
        get_augment("randaug")
