"""Predicting with what was trained, and keeping it in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.grounding.tiny_stages import generator_for, independent_for, vae_of
from tests.grounding.toy_detector import ROOTS, SIDE, TEXTS, ToyExpressions, redrawn, toy_detector

from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.grounding import artifact
from diffuprompt.grounding.artifact import halve_grounder, load_grounder, save_grounder
from diffuprompt.grounding.contract import Detector
from diffuprompt.grounding.detectors import load
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.grounder import Grounded, Grounder
from diffuprompt.grounding.maps import MapsConfig
from diffuprompt.grounding.methods.evaluate import detected
from diffuprompt.grounding.methods.registry import make_method
from diffuprompt.grounding.worlds.labels import vocabulary

SET = ToyExpressions(6, double=False)
MAPS = MapsConfig(kept=2)
SETTINGS = {"maps": 2, "depth": 2}


@pytest.fixture(scope="module")
def detector() -> GlipDetector:
    return toy_detector(double=False)


def grounder_of(detector: Detector, **values: Any) -> Grounder:
    method = make_method("diff-prompt", detector, SETTINGS)
    redrawn(method)
    return Grounder(
        **{
            "detector": detector, "method": method, "vae": vae_of(),
            "generator": generator_for(detector, SET), "maps": MAPS, "side": SIDE, **values,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def grounder(detector: GlipDetector) -> Grounder:
    return grounder_of(detector)


def picture(scale: int = 1) -> Image.Image:
    pixels = (255 * SET.batch([1], SIDE).pixels[0]).byte().permute(1, 2, 0).numpy()
    found = Image.fromarray(np.ascontiguousarray(pixels))
    return found.resize((scale * SIDE, SIDE), Image.Resampling.NEAREST)


def same(a: Grounded, b: Grounded, atol: float = 1e-3) -> bool:
    assert a.maps is not None
    assert b.maps is not None
    assert (a.text, a.root) == (b.text, b.root)
    return len(a.boxes) == len(b.boxes) and all(
        torch.allclose(x, y, atol=atol)
        for x, y in ((a.boxes, b.boxes), (a.scores, b.scores), (a.maps, b.maps), (a.best, b.best))
    )


def test_without_method_it_is_the_frozen_detector(detector: GlipDetector) -> None:
    plain = Grounder(detector=detector, method=make_method("zero-shot", detector), side=SIDE)
    (found,) = plain(picture(), [TEXTS[1]], roots=[ROOTS[1]])
    (expected,) = detected(detector, make_method("zero-shot", detector), SET.batch([1], SIDE))
    assert torch.allclose(found.boxes, expected.boxes, atol=1e-3)
    assert found.maps is None
    assert found.agreement == 1
    assert torch.equal(found.best, found.boxes[:1])


def test_several_expressions_are_what_each_is_first_in_line(grounder: Grounder) -> None:
    """An expression's draw is that of its place, so that two equal ones are two draws."""
    many = grounder(picture(), TEXTS, roots=ROOTS)
    (first,) = grounder(picture(), TEXTS[:1], roots=ROOTS[:1])
    assert same(many[0], first)
    frozen = replace(grounder, generator=independent_for(grounder.detector, SET), vae=None,
                     maps=MapsConfig(source="map", kept=2))  # fmt: skip
    many = frozen(picture(), TEXTS, roots=ROOTS)
    for text, root, one in zip(TEXTS, ROOTS, many, strict=True):
        (alone,) = frozen(picture(), [text], roots=[root])
        assert same(one, alone)


def test_boxes_are_in_pixels_of_the_picture(grounder: Grounder) -> None:
    plain = [Image.new("RGB", (scale * SIDE, SIDE), "red") for scale in (1, 3)]
    (small,), (wide,) = (grounder(one, TEXTS[:1]) for one in plain)
    factor = torch.tensor([3.0, 1, 3, 1])
    assert torch.allclose(small.boxes * factor, wide.boxes, atol=0.05)
    assert torch.allclose(small.best * factor, wide.best, atol=0.05)


def test_samples_are_draws(grounder: Grounder) -> None:
    (three,), (one,) = (grounder(picture(), TEXTS[:1], samples=n) for n in (3, 1))
    assert three.maps is not None
    assert one.maps is not None
    assert three.maps.shape == (3, 2, SIDE // 2, SIDE // 2)
    assert torch.equal(three.maps[:1], one.maps)
    assert torch.equal(three.boxes, one.boxes)
    assert not torch.allclose(three.maps[0], three.maps[1], atol=1e-2)
    again = replace(grounder, seed=2)(picture(), TEXTS[:1])[0]
    assert again.maps is not None
    assert not torch.allclose(again.maps, one.maps, atol=1e-2)


def test_boxes_of_maps_alone(detector: GlipDetector) -> None:
    alone = grounder_of(detector, method=None)
    (found,) = alone(picture(2), TEXTS[:1], samples=2)
    assert found.best.shape == (2, 4)
    assert torch.equal(found.best[0], found.boxes[0])
    empty = Grounded(text="x", root=(0, 1), boxes=torch.zeros(0, 4), scores=torch.zeros(0),
                     maps=None, best=torch.zeros(2, 4))  # fmt: skip
    assert empty.agreement == 0


def test_what_cannot_be_asked_is_refused(grounder: Grounder, detector: GlipDetector) -> None:
    plain = Grounder(detector=detector, method=make_method("zero-shot", detector), side=SIDE)
    for texts in ([], ["red ring", " "]):
        with pytest.raises(DataError, match="expressions"):
            grounder(picture(), texts)
    for one, samples in ((grounder, 0), (plain, 2)):
        with pytest.raises(ConfigError, match="samples"):
            one(picture(), TEXTS[:1], samples=samples)


@pytest.fixture
def opened(detector: GlipDetector, monkeypatch: pytest.MonkeyPatch) -> dict[str, Detector]:
    """What `load_grounder` finds under a name."""
    known: dict[str, Detector] = {"toy": detector, "here": detector}
    monkeypatch.setattr(artifact, "open_detector", lambda name, **_: known[name])
    return known


def saved(grounder: Grounder, folder: Path, **values: Any) -> Path:
    named = {"detector": "toy", "method": "diff-prompt", "settings": SETTINGS, **values}
    save_grounder(grounder, folder, **named)
    return folder


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def test_what_was_saved_answers_alike(
    grounder: Grounder, opened: dict[str, Detector], tmp_path: Path
) -> None:
    (expected,) = grounder(picture(), TEXTS[:1])
    run = saved(grounder, tmp_path / "run" / "artifact").parent
    for found in (load_grounder(run), load_grounder(run / "artifact", detector="here")):
        assert same(found(picture(), TEXTS[:1])[0], expected, atol=0)
        assert found.method is not None
        assert not any(p.requires_grad for p in found.method.parameters())
    halve_grounder(run, tmp_path / "half")
    half = load_grounder(tmp_path / "half")
    sizes = [
        sum(f.stat().st_size for f in p.iterdir()) for p in (tmp_path / "half", run / "artifact")
    ]
    assert sizes[0] < 0.7 * sizes[1]
    assert half.vae is not None
    assert half.vae.shift.dtype == torch.float32


def test_maps_alone_are_saved_too(
    detector: GlipDetector, opened: dict[str, Detector], tmp_path: Path
) -> None:
    maps = MapsConfig(source="map", kept=2)
    generator = independent_for(detector, SET)
    alone = grounder_of(detector, method=None, vae=None, generator=generator, maps=maps)
    found = load_grounder(saved(alone, tmp_path, method="", settings={}))
    assert (found.method, found.vae) == (None, None)
    assert same(found(picture(), TEXTS[:1])[0], alone(picture(), TEXTS[:1])[0], atol=0)


def test_damage_is_refused(grounder: Grounder, opened: dict[str, Detector], tmp_path: Path) -> None:
    saved(grounder, tmp_path)
    for name in ("method", "vae", "generator"):
        file = tmp_path / f"{name}.safetensors"
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CheckpointError, match=f"{name}.safetensors: not "):
            load_grounder(tmp_path)
        file.unlink()
        with pytest.raises(CheckpointError, match=f"{name}.safetensors: no such file"):
            load_grounder(tmp_path)
        file.write_bytes(whole)
    file = tmp_path / "grounding.json"
    text = file.read_text()
    for old, new, told in (
        ('"seed": 1', '"seed": 2', "damaged or altered"),
        ("grounder/1", "grounder/0", "expected schema"),
        ('"side"', '"size"', "damaged or altered"),
        ("{", "[", "JSON"),
    ):
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(CheckpointError, match=told):
            load_grounder(tmp_path)


def test_another_version_is_said(
    grounder: Grounder, opened: dict[str, Detector], tmp_path: Path
) -> None:
    from diffuprompt.runs import digest

    file = saved(grounder, tmp_path) / "grounding.json"
    data = json.loads(file.read_text())
    del data["checksum"], data["maps"]
    file.write_text(json.dumps({**data, "checksum": digest(data)}))
    with pytest.raises(CheckpointError, match="of another version"):
        load_grounder(tmp_path)


def test_another_detector_is_refused(
    grounder: Grounder, opened: dict[str, Detector], tmp_path: Path
) -> None:
    saved(grounder, tmp_path)
    other = toy_detector(double=False)
    with torch.no_grad():
        next(other.module.parameters()).add_(1e-3)
    assert other.content != grounder.detector.content
    opened["toy"] = other
    with pytest.raises(CheckpointError, match="another detector"):
        load_grounder(tmp_path)
    load_grounder(tmp_path, detector="here")


def test_a_detector_that_a_file_names_is_not_downloaded(
    grounder: Grounder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(load, "fetch", fetched.append)
    saved(grounder, tmp_path, detector="someone/else")
    with pytest.raises(CheckpointError, match="nothing is downloaded because a file names it"):
        load_grounder(tmp_path)
    assert not fetched


def test_the_content_of_a_detector_is_all_that_its_answers_depend_on() -> None:
    whole = toy_detector(double=False)
    model, words = whole.model, whole.tokenizer
    same = {"name": "else", "side": 2 * whole.side}
    assert GlipDetector(model, words, **same).content == whole.content
    assert GlipDetector(model, words, min_score=0.05, **same).content != whole.content
    assert GlipDetector(model, vocabulary(["a", "b"]), **same).content != whole.content
    model.config = replace(model.config, plus=1.0)
    assert GlipDetector(model, words, **same).content != whole.content


@pytest.mark.parametrize("source", ["truth", "shuffled"])
def test_what_needs_answers_predicts_nothing(
    source: str, grounder: Grounder, opened: dict[str, Detector], tmp_path: Path
) -> None:
    maps = MapsConfig(source=source, kept=2)  # type: ignore[arg-type]
    saved(replace(grounder, maps=maps), tmp_path)
    with pytest.raises(ConfigError, match="known answers"):
        load_grounder(tmp_path)
