"""The test view equals transformers' PIL processor; the train view follows torchvision's rule."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image

from diffuprompt.data.transforms import Preprocess, random_crop_box
from diffuprompt.errors import CheckpointError


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(height * 1000 + width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8)).convert(mode)


def oracle(fields: dict, image: Image.Image) -> torch.Tensor:
    pil = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    out = pil.CLIPImageProcessorPil(**fields)(image, return_tensors="np")
    return torch.from_numpy(np.asarray(out["pixel_values"])[0])


SQUARE = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
SETTINGS = {
    "openai": SQUARE,
    "legacy ints": {"size": 32, "crop_size": 32},
    "resize above crop": {"size": {"shortest_edge": 37}, "crop_size": 32},
    "padding": {"size": {"shortest_edge": 21}, "crop_size": {"height": 32, "width": 27}},
    "exact": {"size": {"height": 24, "width": 31}, "do_center_crop": False, "resample": 2},
    "exact then crop": {"size": {"height": 25, "width": 31}, "crop_size": 20},
    "no resize": {"do_resize": False, "crop_size": {"height": 33, "width": 20}},
    "no scale": {
        **SQUARE,
        "do_rescale": False,
        "image_mean": [127.0] * 3,
        "image_std": [128.0] * 3,
    },
    "no norm": {**SQUARE, "do_normalize": False, "rescale_factor": 0.5},
}
SIZES = [(32, 32), (32, 33), (47, 31), (31, 47), (1, 1), (5, 64), (63, 7), (200, 333), (19, 18)]


@pytest.mark.parametrize("name", SETTINGS)
def test_test_view_equals_transformers(name: str) -> None:
    fields = SETTINGS[name]
    ours = Preprocess.from_hf(fields, "preprocessor_config.json")
    for height, width in SIZES:
        image = picture(height, width)
        view = ours.test_view(image)
        assert view.dtype == torch.float32
        assert tuple(view.shape[1:]) == ours.output_size
        want = oracle(fields, image)
        assert torch.equal(view, want), (height, width, (view - want).abs().max())


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "LA"])
def test_other_modes_become_rgb_first(mode: str) -> None:
    image = picture(40, 53, mode)
    assert torch.equal(Preprocess.from_hf(SQUARE, "x").test_view(image), oracle(SQUARE, image))


def test_many_odd_sizes() -> None:
    rng = random.Random(0)
    fields = {"size": {"shortest_edge": 16}, "crop_size": 16}
    ours = Preprocess.from_hf(fields, "x")
    for _ in range(60):
        image = picture(rng.randint(1, 90), rng.randint(1, 90))
        assert torch.equal(ours.test_view(image), oracle(fields, image)), image.size


def test_round_trip_and_hash() -> None:
    for fields in SETTINGS.values():
        one = Preprocess.from_hf(fields, "x")
        again = Preprocess.from_hf(one.to_hf(), "x")
        assert again == one
        assert again.hash == one.hash
    assert Preprocess.for_size(32).hash != Preprocess.for_size(33).hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", {"shortest_edge": 32, "longest_edge": 64}),
        ("size", {"height": 32}),
        ("size", 0),
        ("crop_size", {"shortest_edge": 32}),
        ("resample", 9),
        ("resample", "bicubic"),
        ("image_mean", [0.5, 0.5]),
        ("image_std", [0.5, 0.0, 0.5]),
        ("do_resize", "yes"),
        ("rescale_factor", -1),
        ("do_center_crop", False),
        ("do_pad", True),
        ("image_processor_type", "SiglipImageProcessor"),
    ],
)
def test_unsupported_field_is_named(field: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"folder/pre\.json.*\n  {field}: "):
        Preprocess.from_hf({**SQUARE, field: value}, "folder/pre.json")


def test_all_problems_at_once() -> None:
    with pytest.raises(CheckpointError) as caught:
        Preprocess.from_hf({"resample": 7, "image_std": 0}, "x")
    assert "resample" in str(caught.value)
    assert "image_std" in str(caught.value)


def test_train_view_depends_on_the_stream_only() -> None:
    ours, image = Preprocess.for_size(16), picture(40, 60)
    state = random.getstate()
    first = [ours.train_view(image, random.Random(7)) for _ in range(2)]
    assert torch.equal(*first)
    assert first[0].shape == (3, 16, 16)
    assert not torch.equal(first[0], ours.train_view(image, random.Random(8)))
    assert random.getstate() == state


def test_train_view_draws_in_the_documented_order() -> None:
    ours, image, rng = Preprocess.for_size(16), picture(40, 60), random.Random(3)
    view, twin = ours.train_view(image, random.Random(3)), rng
    area = 40 * 60 * twin.uniform(0.08, 1)
    ratio = math.exp(twin.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    top, left = twin.randrange(40 - h + 1), twin.randrange(60 - w + 1)
    crop = image.crop((left, top, left + w, top + h)).resize((16, 16), Image.Resampling.BICUBIC)
    if twin.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # the crop is already 16 x 16, so the test view only normalises it
    assert torch.equal(view, ours.test_view(crop))


def test_crop_boxes_cover_the_published_range() -> None:
    rng = random.Random(0)
    areas = []
    for _ in range(2000):
        top, left, h, w = random_crop_box(300, 400, rng)
        assert 0 <= top <= 300 - h
        assert 0 <= left <= 400 - w
        # sides are rounded, so the ratio may leave [3/4, 4/3] by one pixel in about 85
        assert 0.74 < w / h < 1.35
        areas.append(h * w / 120_000)
    assert min(areas) > 0.079
    assert min(areas) < 0.1
    # uniform on [0.08, 1] has mean 0.54; boxes that do not fit are rejected, which lowers it
    assert 0.40 < sum(areas) / len(areas) < 0.55


def test_crop_falls_back_to_the_centre() -> None:
    class Largest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    assert random_crop_box(10, 100, Largest()) == (0, 43, 10, 13)
    assert random_crop_box(100, 10, Largest()) == (43, 0, 13, 10)
    assert random_crop_box(100, 100, Largest()) == (0, 0, 100, 100)
