"""Views of every learner: prompts by their kind, what is shuffled, and the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.cases import CASES, build
from tests.contract.generators import generator_for
from tests.contract.towers import NAMES, tower
from tests.world import CLASSES, command

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.errors import DataError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.hub.artifact import Artifact, describe, save_artifact
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner
from diffuprompt.pictures import views
from diffuprompt.pictures.sheet import draw_views, heat
from diffuprompt.pictures.views import in_other_order, prompt_sets, view_pictures

CLIP = tower("plain-vit", torch.float32)


def artifact(case: str, generator: PromptGenerator | None = None) -> Artifact:
    learner = build(case, CLIP, moved=True).requires_grad_(False)
    return Artifact(describe(learner, NAMES), CLIP, learner, generator)


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def logits(learner: Learner, image: Image.Image) -> torch.Tensor:
    pixels = CLIP.preprocess.test_view(image)[None]
    return learner.logits(ImageBatch(pixels, None, torch.tensor([0])), Classes(NAMES))[0]


@pytest.mark.parametrize("case", [case for case in CASES if case != "probe"])
def test_every_learner_is_seen_and_its_logit_is_its_own(case: str) -> None:
    known = artifact(case)
    (view,) = view_pictures(known, [picture(0)], seed=1)
    own, expected = view.prompts["own"], logits(known.learner, picture(0))
    assert view.name == NAMES[int(expected.argmax())]
    assert own.logit == pytest.approx(
        float(expected.max() - expected.mean()), abs=1e-4
    )  # float32, logits up to 10
    assert own.guesses[0][0] == view.name
    assert own.map.shape == (7, 7)
    assert float(own.map.abs().max()) > 1e-4
    assert set(view.prompts) == ({"own", "shuffled"} if "cocoop" in case else {"own"})
    assert own.words.lines()


def test_shuffled_prompts_are_those_of_the_other_picture() -> None:
    known = artifact("cocoop")
    a, b = view_pictures(known, [picture(0), picture(1)])
    assert a.prompts["own"].words == b.prompts["shuffled"].words
    assert a.prompts["shuffled"].words == b.prompts["own"].words
    assert a.prompts["shuffled"].words != a.prompts["own"].words
    (alone,) = view_pictures(known, [picture(0)], seed=3)
    (again,) = view_pictures(known, [picture(0)], seed=3)
    assert alone.prompts["own"].words.lines() == a.prompts["own"].words.lines()  # two decimals
    assert alone.prompts["shuffled"].words != alone.prompts["own"].words
    assert alone.prompts["shuffled"].words == again.prompts["shuffled"].words
    assert "blocks" in alone.shuffled_from


def test_many_pictures_pass_the_tower_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    known, seen = artifact("cocoop"), []
    pixels = torch.rand(3, 3, *CLIP.preprocess.test_view(picture(0)).shape[1:])
    whole = prompt_sets(known, pixels)
    features = known.learner.features

    def counted(images: ImageBatch) -> torch.Tensor:
        seen.append(images.index.tolist())
        return features(images)

    monkeypatch.setattr(views, "CHUNK", 2)
    monkeypatch.setattr(known.learner, "features", counted)
    parts = prompt_sets(known, pixels)
    assert seen == [[0, 1], [2]]
    for kind, prompts in whole.items():
        torch.testing.assert_close(parts[kind]["text.0"], prompts["text.0"], rtol=0, atol=1e-5)


def test_an_untrained_generator_shows_the_learners_own() -> None:
    known = artifact("maple", generator_for("untrained", "maple", CLIP))
    (view,) = view_pictures(known, [picture(0)], names=["dog"])
    assert view.name == "dog"
    assert list(view.prompts) == ["own", "generated", "shuffled"]
    for kind in ("generated", "shuffled"):
        torch.testing.assert_close(view.prompts[kind].map, view.prompts["own"].map)


def test_a_name_that_is_no_class_is_refused_with_the_near_miss() -> None:
    with pytest.raises(DataError, match=r"'gog' is none of the 6 classes.*'dog'"):
        view_pictures(artifact("cocoop"), [picture(0)], names=["gog"])


def test_blocks_change_places_and_nothing_else() -> None:
    pixels = torch.rand(2, 3, 26, 24, generator=torch.Generator().manual_seed(0))
    mixed = in_other_order(pixels, 0)
    assert not torch.equal(mixed, pixels)
    assert torch.equal(mixed.flatten(2).sort(2).values, pixels.flatten(2).sort(2).values)
    assert torch.equal(mixed, in_other_order(pixels, 0))
    assert not torch.equal(mixed, in_other_order(pixels, 1))
    block = pixels[:, :, :6, :6]
    there = [mixed[:, :, i : i + 6, j : j + 6] for i in range(0, 24, 6) for j in range(0, 24, 6)]
    assert sum(torch.equal(block, other) for other in there) == 1


def test_red_is_where_the_logit_rests_and_blue_where_hiding_helps() -> None:
    cells = torch.zeros(4, 4)
    cells[0, 3], cells[3, 0] = 2.0, -2.0
    found = np.asarray(heat(Image.new("RGB", (40, 40), "grey"), cells, 2.0)).astype(int)
    redness = found[..., 0] - found[..., 2]
    assert np.unravel_index(redness.argmax(), redness.shape) < (10, 40)
    assert redness[:10, 30:].min() > 20
    assert redness[30:, :10].max() < -20
    assert np.abs(redness[15:25, 15:25]).max() < 3


def test_the_command_prints_words_and_writes_the_sheet(world: Path, tmp_path: Path) -> None:
    clip = load_clip(world / "clip")
    learner = build_learner("coop", clip, {"num_ctx": 2, "ctx_init": None})
    save_artifact(tmp_path / "run" / "artifact", learner, CLASSES, None, {})
    folder = world / "colours"
    image, other = folder / "red" / "0.png", folder / "green" / "0.png"
    words = ("draw", tmp_path / "run", "--image", image, "--backbone", world / "clip")
    out = tmp_path / "drawn"
    done = command(*words, "--about", "red", "--out", out)
    assert done.code == 0, done.err
    assert done.out.startswith("0.png: red\n  own: logit ")
    assert "    v2: " in done.out
    with Image.open(out / "views.png") as sheet:
        assert sheet.width >= 2 * 224
    for wrong, message in (
        (("--about", "rod"), "--about: 'rod' is none of the 6 classes. Did you mean 'red'?"),
        (("--side", "100", "--pictures"), "--side: got 100, expected a multiple of 64"),
        (("--pictures", "--image", other), f"{image} and {other} would both write 0-prompts.png"),
        (("--image", folder, "--image", folder), "--image: got 73 images, expected at most 64"),
    ):
        refused = command(*words, *wrong, "--out", tmp_path / "other")
        assert refused.code == 2
        assert message in refused.err
        assert not (tmp_path / "other").exists()


def test_a_sheet_has_a_row_for_each_picture() -> None:
    seen = view_pictures(artifact("coop-words"), [picture(0), picture(1)])
    two, one = draw_views(seen, ["a", "b"]), draw_views(seen[:1], ["a"])
    assert two.height > 1.9 * one.height
    assert np.array_equal(
        np.asarray(two)[: one.height - 40, 230:460], np.asarray(one)[:-40, 230:460]
    )
