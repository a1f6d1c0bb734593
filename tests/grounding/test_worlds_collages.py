"""Collages: truth of boxes, masks and expressions on drawn cut-outs; the files of real ones."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.reader import reading
from tests.grounding.truth import check_truth

from diffuprompt.clip.stem import EfficientNetLite0
from diffuprompt.engine import read_tensors
from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.grounding.detectors.folder import load_detector, save_detector
from diffuprompt.grounding.detectors.glip import PHOTO, Glip
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.trunk import Trunk, load_trunk
from diffuprompt.grounding.worlds import collages
from diffuprompt.grounding.worlds.collages import (
    LONGEST,
    MIN_VISIBLE,
    OBJECTS,
    CollageWorld,
    collage,
)
from diffuprompt.grounding.worlds.cutouts import SIDE, Cutout, Cutouts, cutout_names, read_cutouts
from diffuprompt.grounding.worlds.labels import vocabulary
from diffuprompt.grounding.worlds.making import make_expressions

NAMES = (
    "chair",
    "cup",
    "electric guitar",
    "lamp",
    "panda",
    "soccer ball",
    "stop sign",
    "wheelchair",
)


def ellipse(number: int) -> np.ndarray:
    """Return a soft ellipse of one colour, up to three times as long as high."""
    rng = np.random.default_rng(number)
    width, height = 90, int(rng.integers(30, 90))
    v, u = np.mgrid[0:height, 0:width]
    radius = np.hypot((u + 0.5) / width - 0.5, (v + 0.5) / height - 0.5)
    rgba = np.empty((height, width, 4), np.uint8)
    rgba[..., :3] = rng.integers(0, 256, 3)
    rgba[..., 3] = np.clip((0.5 - radius) * 2000, 0, 255)
    return rgba


@pytest.fixture(scope="module")
def cutouts() -> Cutouts:
    items = tuple(Cutout(name=NAMES[i % 8], rgba=ellipse(i)) for i in range(16))
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return Cutouts(items=items, backgrounds=(grey, grey // 2))


def test_pictures_are_true(cutouts: Cutouts) -> None:
    world = CollageWorld(cutouts=cutouts, split="val", seed=0, count=4)
    kinds = set()
    for index in range(12):
        picture = world(index)
        check_truth(picture)
        assert OBJECTS[0] <= len(picture.boxes) <= OBJECTS[1]
        assert (picture.boxes[:, 2:] - picture.boxes[:, :2]).max() <= LONGEST
        kinds |= {one.kind for one in picture.references}
        for one in picture.references:
            start, end = one.root
            assert one.text[start:end].endswith(picture.words[one.target][0])
    assert kinds == {"plain", "extreme", "relation"}


def test_expressions_are_unique_also_by_the_areas_that_show(cutouts: Cutouts) -> None:
    total = 0
    for index in range(12):
        made = collage(cutouts, Random(index))
        for one in collages.references(made, Random(index), count=6):
            total += 1
            fits = reading(one.text, made.objects, size=lambda thing: thing.mask.sum())
            assert fits == {one.target}, one.text
    assert total > 40


def test_objects_stay_visible_and_show_their_own_pixels(cutouts: Cutouts) -> None:
    shares, alone = [], 0
    for index in range(12):
        rng, board = Random(index), collages._Board()
        for _ in range(12):
            board.place(rng.choice(cutouts.items), rng)
        for thing, area in zip(board.objects, board._areas, strict=True):
            shares.append(thing.mask.sum() / area)
            alone += thing.mask.sum() == area
    assert min(shares) >= MIN_VISIBLE
    assert min(shares) < 0.95  # some hiding does occur
    assert alone > 0.5 * len(shares)
    made = collage(cutouts, Random(1))
    for thing in made.objects:
        colours = {tuple(c.rgba[0, 0, :3]) for c in cutouts.items if c.name == thing.name}
        middle = np.median(np.asarray(made.image)[thing.mask], axis=0)
        assert min(np.abs(middle - colour).max() for colour in colours) <= 2  # rounding


def test_a_collage_is_a_function_of_split_seed_and_index(cutouts: Cutouts) -> None:
    def picture(split: Any = "test", seed: int = 0, index: int = 3) -> bytes:
        return CollageWorld(cutouts=cutouts, split=split, seed=seed)(index).image.tobytes()

    same = {picture(), picture()}
    assert len(same) == 1
    assert not same & {picture("val"), picture(seed=1), picture(index=4)}
    world = CollageWorld(cutouts=cutouts, split="test", seed=0, count=3)
    there = pickle.loads(pickle.dumps(world))  # as it travels to a worker
    assert there(2).references == world(2).references


def test_base_and_new_mean_the_halves_of_the_classes(cutouts: Cutouts) -> None:
    meant: dict[str, set[str]] = {}
    for targets in ("base", "new"):
        world = CollageWorld(cutouts=cutouts, split="val", seed=0, count=9, targets=targets)
        pictures = [world(index) for index in range(12)]
        meant[targets] = {p.words[one.target][0] for p in pictures for one in p.references}
    assert meant == {"base": set(sorted(NAMES)[:4]), "new": set(sorted(NAMES)[4:])}


def files(root: Path) -> Path:
    """Write five photographs of which two are cut out, and the official split."""
    rows = {
        "train": [
            ["cup/1.png", 0, "cup"],
            ["leopard/1.png", 1, "leopard"],
            ["windsor_chair/2.png", 2, "windsor_chair"],
        ],
        "val": [],
        "test": [["windsor_chair/1.png", 2, "windsor_chair"], ["leopard/2.png", 1, "leopard"]],
    }
    for items in rows.values():
        for k, (path, _, _) in enumerate(items):
            file = root / "caltech101" / "101_ObjectCategories" / str(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 40), (200, 20 * k, 10)).save(file)
    (root / "coop-splits").mkdir()
    (root / "coop-splits" / "split_zhou_Caltech101.json").write_text(json.dumps(rows))
    folder = root / "caltech101-cutouts"
    (folder / "masks").mkdir(parents=True)
    mask = Image.new("L", (60, 40))
    mask.paste(255, (10, 5, 30, 35))
    mask.save(folder / "masks" / "one.png")
    shared = {"mask": "masks/one.png", "box": [10, 5, 30, 35]}
    entries = [
        {"photo": "cup/1.png", "name": "cup", "split": "train", **shared},
        {"photo": "windsor_chair/1.png", "name": "windsor_chair", "split": "test", **shared},
    ]
    (folder / "index.json").write_text(json.dumps(entries))
    return root


def test_cutouts_are_read_by_split_and_named_as_people_do(tmp_path: Path) -> None:
    root = files(tmp_path)
    assert cutout_names(root) == ("chair", "cup")
    train, test = read_cutouts("train", root), read_cutouts("test", root)
    assert (train.names, test.names) == (("cup",), ("chair",))
    assert len(train.backgrounds) == len(test.backgrounds) == 1
    assert train.backgrounds[0].shape == (SIDE, SIDE, 3)
    (one,) = train.items
    assert one.rgba.shape == (30, 20, 4)
    assert (one.rgba == [200, 0, 10, 255]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [1, 2, 3]}, "entry 1: expected photo, mask, name, split, box"),
        ({"box": [1, 2, 3, 4.5]}, "four whole numbers"),
        ({"name": 3}, "entry 1: expected"),
        ({"split": "train"}, "'windsor_chair/1.png' is not in split 'train'"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    root = files(tmp_path)
    path = root / "caltech101-cutouts" / "index.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([entries[0], {**entries[1], **change}]))
    with pytest.raises(DataError, match=message):
        read_cutouts("train", root)


def test_missing_files_and_masks_of_another_size_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"caltech101-cutouts/index\.json, looked for at"):
        read_cutouts("train", tmp_path)
    root = files(tmp_path / "data")
    Image.new("L", (6, 4)).save(root / "caltech101-cutouts" / "masks" / "one.png")
    with pytest.raises(DataError, match=r"one\.png: expected the photograph's size \(60, 40\)"):
        read_cutouts("train", root)


def test_the_real_cutouts_are_split_by_photograph(shared_data: Path) -> None:
    entries = json.loads((shared_data / "caltech101-cutouts" / "index.json").read_text())
    photos = [entry["photo"] for entry in entries]
    assert len(set(photos)) == len(photos) == 1352
    names = cutout_names(shared_data)
    assert len(names) == 51
    assert "chair" in names
    assert "windsor chair" not in names
    made = make_expressions("collages", "val", seed=0, count=12, root=shared_data)
    assert made.size(0) == (SIDE, SIDE)
    assert made.has_masks
    for row in range(12):
        root = made[row].root
        assert made[row].text[slice(*root)].endswith(names)


def test_the_trunk_is_the_stems_three_maps(cutouts: Cutouts) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = EfficientNetLite0()
    trunk = Trunk(stem)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(5, 3, 64, 96, generator=generator)
    found = trunk(pixels)
    assert found.shape == (5, trunk.channels, 8, 12)
    assert trunk.channels == 40 + 112 + 320
    assert not any(p.requires_grad for p in trunk.parameters())
    x = torch.clamp(stem.conv_stem(pixels), 0, 6)
    maps = []
    for stage in stem.blocks:
        for block in stage:
            x = block(x)
        maps.append(x)
    torch.testing.assert_close(stem(pixels), maps[-1])
    fine, middle = maps[2], maps[4]
    centred = fine - fine.mean(1, keepdim=True)
    expected = centred / (fine.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(found[:, :40], expected, rtol=1e-4, atol=1e-4)
    centred = middle - middle.mean(1, keepdim=True)
    expected = centred / (middle.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    coarse = torch.nn.functional.avg_pool2d(found[:, 40:152], 2)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    # a mean over two by two bilinear samples is a 3 x 3 tent over the coarse map
    tent = torch.tensor([1.0, 6.0, 1.0]) / 8
    kernel = torch.outer(tent, tent).expand(112, 1, 3, 3)
    smooth = torch.nn.functional.conv2d(expected, kernel, groups=112)
    torch.testing.assert_close(coarse[inner], smooth, rtol=1e-3, atol=1e-3)


def test_a_backbone_without_the_stem_is_no_trunk() -> None:
    with pytest.raises(CheckpointError, match="expected a backbone with an EfficientNet-Lite0"):
        load_trunk("scenes-clip")


def test_a_detector_keeps_its_trunk_by_name(shared_models: Path, tmp_path: Path) -> None:
    backbone = str(shared_models / "photo-clip-lite")
    tokenizer = vocabulary(NAMES)
    config = replace(
        PHOTO,
        swin=replace(PHOTO.swin, width=8, heads=(2, 2, 2)),
        bert=replace(PHOTO.bert, vocab_size=tokenizer.vocab_size, width=16, layers=1, hidden=16),
        channels=16,
        trunk=backbone,
    )
    model = Glip(config, load_trunk(backbone)).eval()
    save_detector(GlipDetector(model, tokenizer, name="collages", side=SIDE), tmp_path)
    stored = read_tensors(tmp_path / "model.safetensors")[0]
    assert stored
    assert not [name for name in stored if "trunk" in name]
    detector = load_detector(tmp_path)
    read = detector.model
    assert read.config == config
    tokens = tokenizer(["the chair"])
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for name, value in model.named_parameters():
            value.copy_(value.half() if not name.startswith("trunk.") else value)
        expected, found = (m(pixels, tokens.ids, tokens.mask) for m in (model, read))
    assert torch.equal(expected.words, found.words)
    assert torch.equal(expected.code, found.code)
    assert (detector.name, detector.side) == ("collages", SIDE)
    assert detector.grids(128, 100) == [(16, 13)] * 2 + [(8, 7)] * 2 + [(4, 4)] * 2
