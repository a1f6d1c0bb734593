"""`Classifier`: the same answers as the protocol's, for files, pictures and other names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.world import CLASSES, open_job

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.tokens import sentence_tokens
from diffuprompt.data.decode import load_image
from diffuprompt.data.images import ImageBatch
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.hub.classifier import Classifier
from diffuprompt.hub.predictive import predictive
from diffuprompt.jobs.run_folder import read_run
from diffuprompt.stages.flat_prompts import learner_logits, own_prompts

RUNS = ("coop", "diffusion")
# Probabilities are softmax(20 * cosine); features of one image alone and in a batch differ by
# about 1e-6 in the cosine, matrix products of other shapes adding in another order.
OTHER_ORDER = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def classifiers(place: Path) -> dict[str, Classifier]:
    """From run folders; `test_both_folders` compares with their artifacts."""
    return {name: Classifier.from_pretrained(place / name, device="cpu") for name in RUNS}


@pytest.fixture(scope="module")
def images(place: Path) -> list[Path]:
    return sorted((place / "colours").rglob("*.png"))[::3]


@pytest.mark.parametrize("name", RUNS)
def test_both_folders(
    place: Path, classifiers: dict[str, Classifier], images: list[Path], name: str
) -> None:
    artifact = Classifier.from_pretrained(str(place / name / "artifact"), device="cpu")
    assert torch.equal(artifact.predict(images), classifiers[name].predict(images))
    assert artifact.classes == CLASSES


@pytest.mark.parametrize("name", RUNS)
def test_one_picture_gives_ranked_names(
    classifiers: dict[str, Classifier], images: list[Path], name: str
) -> None:
    classifier = classifiers[name]
    found = classifier(images[0])
    assert set(found) == set(CLASSES)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)  # six float32 numbers
    (row,) = classifier.predict([images[0]])
    assert [found[label] for label in CLASSES] == row.tolist()


@pytest.mark.parametrize("name", RUNS)
def test_files_and_pictures_agree(
    classifiers: dict[str, Classifier], images: list[Path], name: str
) -> None:
    with Image.open(images[1]) as picture:
        assert classifiers[name](picture) == classifiers[name](images[1])
    assert classifiers[name](str(images[1])) == classifiers[name](images[1])


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "CMYK"])
def test_pictures_of_any_mode_agree_with_their_files(
    classifiers: dict[str, Classifier], tmp_path: Path, mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
    picture = Image.fromarray(noise, "RGBA").convert("RGB" if mode == "CMYK" else "RGBA")
    picture = picture.convert(mode) if mode != "RGBA" else picture
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    picture.save(path)
    with Image.open(path) as same:
        assert classifiers["coop"](same) == classifiers["coop"](path)


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("name", RUNS)
def test_batches_equal_single_pictures(
    classifiers: dict[str, Classifier], images: list[Path], name: str, size: int
) -> None:
    whole = classifiers[name].predict(images, batch_size=64)
    assert whole.shape == (len(images), len(CLASSES))
    parts = classifiers[name].predict(images, batch_size=size)
    torch.testing.assert_close(parts, whole, **OTHER_ORDER)
    turned = classifiers[name].predict(images[::-1], batch_size=64)
    torch.testing.assert_close(turned.flip(0), whole, **OTHER_ORDER)


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m", "euler"])
def test_batches_equal_single_pictures_whatever_the_sampler_draws(
    place: Path, diffusion: Path, images: list[Path], sampler: str
) -> None:
    data = json.loads((diffusion / "artifact.json").read_text())
    data["generator"]["config"]["sampler"] = sampler
    del data["checksum"]
    (diffusion / "artifact.json").write_text(json.dumps(data))
    classifier = Classifier.from_pretrained(diffusion, backbone=str(place / "clip"), device="cpu")
    whole = classifier.predict(images)
    torch.testing.assert_close(classifier.predict(images, batch_size=1), whole, **OTHER_ORDER)


@pytest.mark.parametrize("name", RUNS)
def test_answers_are_the_protocols(
    place: Path,
    classifiers: dict[str, Classifier],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))
    tests = open_job(read_run(place / name).job).tests["all"]
    paths = [place / "colours" / item.path for item in tests.items]
    artifact = classifiers[name]._artifact
    with torch.inference_mode():
        flat = own_prompts(artifact.learner, tests)
        if artifact.generator is not None:
            own, flat = flat, artifact.generator.sample(tests.features, flat)
            assert not torch.allclose(own, flat)
        expected = learner_logits(artifact.learner, tests)(flat, torch.arange(len(tests)))
    found = classifiers[name].predict(paths)
    torch.testing.assert_close(found, expected.softmax(1), **OTHER_ORDER)


@pytest.mark.parametrize("name", RUNS)
def test_other_names_need_no_training(
    classifiers: dict[str, Classifier], images: list[Path], name: str
) -> None:
    classifier = classifiers[name]
    before = classifier.predict(images)
    some = classifier.with_classes([CLASSES[4], CLASSES[1]])
    assert some.classes == (CLASSES[4], CLASSES[1])
    # softmax over fewer classes: the same odds
    expected = before[:, [4, 1]] / before[:, [4, 1]].sum(1, keepdim=True)
    torch.testing.assert_close(some.predict(images), expected, **OTHER_ORDER)
    assert set(classifier.with_classes(["snow leopard"])(images[0])) == {"snow leopard"}
    assert torch.equal(classifier.predict(images), before)  # the first one is left alone


def test_class_lists_that_cannot_be_told_apart(classifiers: dict[str, Classifier]) -> None:
    for names in (["cat", "cat"], ["snow_leopard", "dog", "Snow  leopard"]):
        with pytest.raises(DataError, match="the same prompt text"):
            classifiers["coop"].with_classes(names)
    with pytest.raises(DataError, match="empty"):
        classifiers["coop"].with_classes([])  # not the trained names in silence
    with pytest.raises(DataError, match="list of class names"):
        classifiers["coop"].with_classes("cat")


@pytest.mark.parametrize("name", RUNS)
def test_an_unreadable_picture_is_named(
    classifiers: dict[str, Classifier], images: list[Path], tmp_path: Path, name: str
) -> None:
    (tmp_path / "cut.png").write_bytes(images[0].read_bytes()[:80])
    with pytest.raises(DataError, match=r"cut\.png"):
        classifiers[name].predict([images[0], tmp_path / "cut.png"])
    with pytest.raises(DataError, match=r"gone\.png"):
        classifiers[name](tmp_path / "gone.png")
    with pytest.raises(DataError, match="no pictures"):
        classifiers[name].predict([])


class Counted:
    """A progress that adds up what was announced and what was done."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def task(self, label: str, *, total: int) -> Counted:
        self.total += total
        return self

    def advance(self, n: int = 1, **stats: float) -> None:
        self.done += n

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def test_samples_are_draws_of_the_generator(
    classifiers: dict[str, Classifier], images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, counted = classifiers["diffusion"], Counted()
    found = classifier.predict(images, batch_size=5, samples=3, progress=counted)
    assert counted.total == counted.done == 3 * len(images)
    generator = classifier._artifact.generator
    assert generator is not None
    sample, rows = generator.sample, []
    for k in range(3):  # the draws one by one, through the door that has no samples
        monkeypatch.setattr(generator, "sample", lambda *a, draw, k=k: sample(*a, draw=k))
        rows.append(classifier.predict(images))
    assert not torch.allclose(rows[0], rows[1], **OTHER_ORDER)
    expected = predictive(torch.stack(rows))
    torch.testing.assert_close(found.probabilities, expected.probabilities, **OTHER_ORDER)
    torch.testing.assert_close(found.std, expected.std, **OTHER_ORDER)
    torch.testing.assert_close(found.mutual_information, expected.mutual_information, **OTHER_ORDER)


def test_one_sample_is_the_answer_without_samples(
    classifiers: dict[str, Classifier], images: list[Path]
) -> None:
    found = classifiers["diffusion"].predict(images, samples=1)
    assert torch.equal(found.probabilities, classifiers["diffusion"].predict(images))
    assert not any(m.any() for m in (found.disagreement, found.std, found.mutual_information))


def test_what_has_nothing_to_draw_from_says_so(
    classifiers: dict[str, Classifier], images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no generator.*--generator diffusion"):
        classifiers["coop"].predict(images, samples=2)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        classifiers["diffusion"].predict(images, samples=0)
    monkeypatch.setattr(classifiers["diffusion"]._artifact.generator, "num_noise", 0)
    with pytest.raises(ConfigError, match="draws no noise"):
        classifiers["diffusion"].predict(images, samples=2)


def test_an_unknown_device_is_a_configuration_error(place: Path) -> None:
    with pytest.raises(ConfigError, match="device"):
        Classifier.from_pretrained(place / "coop", device="abacus")


@pytest.mark.parametrize("names", [("red", "white"), ("white", "red", "a, b"), ("black",)])
def test_zero_shot_is_clip_with_a_sentence(
    place: Path, images: list[Path], names: tuple[str, ...]
) -> None:
    """Against the towers themselves: cosines of picture and sentence times the scale."""
    model = Classifier.zero_shot(names, backbone=str(place / "clip"), device="cpu")
    clip = load_clip(place / "clip")
    with torch.inference_mode():
        pixels = torch.stack([clip.preprocess.test_view(load_image(path)) for path in images])
        pictures = torch.nn.functional.normalize(clip.vision(pixels), dim=1)
        sentences = [f"a photo of a {name}." for name in names]
        tokens = sentence_tokens(clip.tokenizer, sentences, clip.config.text.context_length)
        texts = torch.nn.functional.normalize(clip.text(tokens)[0], dim=1)
        expected = (clip.scale * pictures @ texts.T).softmax(1)
    torch.testing.assert_close(model.predict(images), expected, **OTHER_ORDER)
    assert model.classes == names
    assert model.backbone == "clip"


def test_zero_shot_takes_another_sentence_and_other_names(place: Path, images: list[Path]) -> None:
    backbone = str(place / "clip")
    plain = Classifier.zero_shot(["red", "white"], backbone=backbone)
    other = Classifier.zero_shot(["red", "white"], backbone=backbone, template="{}, drawn")
    assert not torch.equal(plain.predict(images), other.predict(images))
    turned = plain.with_classes(["white", "red"]).predict(images)
    torch.testing.assert_close(turned.flip(1), plain.predict(images), **OTHER_ORDER)
    with pytest.raises(ConfigError, match="no generator"):
        plain.predict(images, samples=2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "empty"),
        ("cat", "list of class names"),
        (["cat", "Cat"], "same prompt text"),
        (["cat", "c\u200bat"], "invisible"),
        (["cat", " "], "is empty"),
    ],
)
def test_zero_shot_refuses_names_before_it_loads_anything(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classifier.zero_shot(names, backbone="nobody/has-this")


def test_zero_shot_needs_a_place_for_the_name(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"\{\}"):
        Classifier.zero_shot(["cat"], backbone=str(place / "clip"), template="a photo")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", [*RUNS, "zero-shot"])
def test_an_answer_that_is_no_number_is_an_error_that_names_the_picture(
    place: Path, images: list[Path], name: str, value: float
) -> None:
    if name == "zero-shot":
        model = Classifier.zero_shot(CLASSES, backbone=str(place / "clip"), device="cpu")
    else:
        model = Classifier.from_pretrained(place / name, device="cpu")
    with torch.no_grad():
        model._artifact.clip.logit_scale.fill_(value)
    with pytest.raises(CheckpointError, match=re.escape(str(images[0]))) as caught:
        model.predict(images)
    assert (str(place / name) if name in RUNS else "zero-shot with clip") in str(caught.value)
    with Image.open(images[1]) as picture, pytest.raises(CheckpointError, match="picture 1 "):
        model(picture)


def test_only_the_picture_with_the_answer_is_named(
    place: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Classifier.from_pretrained(place / "coop", device="cpu")
    whole, batches = model._logits, []

    def spoiled(batch: ImageBatch, *rest: object) -> torch.Tensor:
        found = whole(batch, *rest).clone()  # type: ignore[arg-type]
        batches.append(batch)
        if len(batches) == 2:
            found[:, 1, 2] = float("nan")
        return found

    monkeypatch.setattr(model, "_logits", spoiled)
    with pytest.raises(CheckpointError, match=re.escape(str(images[4]))):
        model.predict(images, batch_size=3)
    monkeypatch.setattr(model, "_logits", whole)
    assert model.predict(images).isfinite().all()
