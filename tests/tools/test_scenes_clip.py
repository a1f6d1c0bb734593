"""The bundled tower and its recipe: small, standard, better than chance, and reproducible data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from diffuprompt.checkpoints.load import ASSETS, load_clip
from diffuprompt.data.scenes import CLASSES, dataset, held_out
from diffuprompt.data.scenes.attributes import COLOURS, FILLS, SHAPES

FOLDER = ASSETS / "scenes-clip"


def test_the_folder_is_small_and_complete() -> None:
    names = {p.name for p in FOLDER.iterdir()}
    needed = {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"}
    assert names == needed | {"README.md"}
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) <= 8 * 2**20


def test_our_towers_equal_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    clip = load_clip("scenes-clip")
    theirs = transformers.CLIPModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    images = [dataset.picture(dataset.parse_look(c), "val", 0, "clean") for c in CLASSES[:4]]
    pixels = torch.stack([clip.preprocess.test_view(image) for image in images])
    with torch.inference_mode():
        ours = clip.vision(pixels, None)
        expected = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
    # fp32 with another order of sums; entries are of order 1
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    # a picture of the right size reaches the tower unresampled
    raw = torch.frombuffer(bytearray(images[0].tobytes()), dtype=torch.uint8).view(64, 64, 3)
    assert torch.equal((pixels[0].permute(1, 2, 0) * 127.5 + 127.5).round().byte(), raw)


def test_every_string_encodes_and_the_end_has_the_largest_id() -> None:
    tokenizer = load_clip("scenes-clip").tokenizer
    assert tokenizer.eot == tokenizer.vocab_size - 1
    for text in ("a photo of a red striped star.", "Ünïcödé 漢字 🎉 x\ty", "..."):
        ids = tokenizer.encode(text)
        assert ids
        assert tokenizer.sot not in ids
        assert tokenizer.eot not in ids
    assert len(tokenizer.encode("a red striped star")) == 4


def test_zero_shot_is_far_above_chance_on_looks_never_seen() -> None:
    from tools.evaluate_scenes_clip import Towers

    towers = Towers(FOLDER)
    looks = [look for look in map(dataset.parse_look, CLASSES) if held_out(*look)]
    texts = towers.texts([f"a photo of a {look.name}." for look in looks])
    images = [dataset.picture(look, "val", k, "clean") for look in looks for k in range(4)]
    guess = (towers.images(images) @ texts.T).argmax(1)
    right = guess == torch.arange(len(looks)).repeat_interleave(4)
    assert right.float().mean() > 0.2  # chance is 0.05


def test_batches_are_reproducible_and_never_show_a_held_out_look() -> None:
    from tools.scenes_batches import pairs, same_text

    first, again, other = pairs(1, 5, 48), pairs(1, 5, 48), pairs(1, 6, 48)
    assert torch.equal(first.pixels, again.pixels)
    assert first.texts == again.texts
    assert not torch.equal(first.pixels, other.pixels)
    assert first.patches.shape == (48, 64, 3)
    for shape, colour, fill in first.patches.flatten(0, 1).unique(dim=0).tolist():
        if shape:
            assert not held_out(SHAPES[shape - 1], list(COLOURS)[colour - 1], FILLS[fill - 1])
    assert same_text(["a", "b", "a"]).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_the_heads_follow_the_labels() -> None:
    from tools.scenes_batches import pairs
    from tools.train_scenes_clip import Heads

    torch.manual_seed(0)
    batch, heads = pairs(0, 0, 16), Heads(8, 8)
    states = torch.randn(16, 65, 8)
    image, text = (F.normalize(torch.randn(16, 8), dim=-1) for _ in range(2))
    loss = heads.loss(states, image, text, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads.parameters())


def test_a_saved_model_is_a_standard_folder(tmp_path: Path) -> None:
    from tools.train_scenes_clip import Recipe, build, save

    clip = load_clip("scenes-clip")
    recipe = Recipe()
    small = {"width": 32, "layers": 1, "heads": 2}
    recipe.vision = recipe.text = small
    save(tmp_path / "made", build(recipe, clip.tokenizer), clip.tokenizer)
    assert json.loads((tmp_path / "made" / "config.json").read_text())["model_type"] == "clip"
    assert load_clip(tmp_path / "made").vision(torch.zeros(1, 3, 64, 64), None).shape == (1, 128)
