"""Artifacts load strictly: whatever is missing, left over, altered or hostile is refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.contract.towers import NAMES, pictures, tower
from tests.world import CLASSES, make_clip

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.engine.files import read_tensors, write_tensors
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import CheckpointError
from diffuprompt.hub.artifact import (
    CARD,
    DESCRIPTION,
    TENSORS,
    load_artifact,
    read_description,
    save_artifact,
)
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.coop import CoOpOptions
from diffuprompt.learners.registry import build_learner
from diffuprompt.runs.cache import checksum


@pytest.fixture(scope="module")
def clip(place: Path) -> Clip:
    return load_clip(place / "clip")


def edit(folder: Path, **fields: Any) -> None:
    """Change fields of the description; a key "a__b" is b inside a."""
    data = json.loads((folder / DESCRIPTION).read_text())
    for key, value in fields.items():
        inner, *path = data, *key.split("__")
        for name in path[:-1]:
            inner = inner[int(name) if isinstance(inner, list) else name]
        inner[path[-1]] = value
    (folder / DESCRIPTION).write_text(json.dumps(data))


def change(folder: Path, *, rehash: bool = True, **tensors: torch.Tensor | None) -> None:
    """Replace, add or (None) remove tensors; with ``rehash`` the description goes along."""
    found = read_tensors(folder / TENSORS)[0]
    found |= {k.replace("__", "."): t for k, t in tensors.items()}  # type: ignore[arg-type]
    kept = {k: t for k, t in found.items() if t is not None}
    write_tensors(folder / TENSORS, kept)
    if rehash:
        edit(folder, tensors_hash=checksum(kept))


def refused(folder: Path, clip: Clip) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_artifact(folder, clip=clip)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_what_is_saved_is_what_is_loaded(diffusion: Path, clip: Clip, tmp_path: Path) -> None:
    loaded = load_artifact(diffusion, clip=clip)
    assert loaded.generator is not None
    assert loaded.description.classes == CLASSES
    assert not any(p.requires_grad for p in loaded.learner.parameters())
    assert not any(p.requires_grad for p in loaded.generator.parameters())
    stored = read_tensors(diffusion / TENSORS)[0]
    ours = {f"learner.{k}": v for k, v in loaded.learner.state_dict().items()}
    ours |= {f"generator.{k}": v for k, v in loaded.generator.state_dict().items()}
    assert ours.keys() == stored.keys()
    assert all(torch.equal(ours[k], stored[k]) for k in ours)
    again = save_artifact(
        tmp_path / "again",
        loaded.learner,
        loaded.description.classes,
        loaded.generator,
        loaded.description.training,
    )
    assert again == loaded.description
    for name in (TENSORS, DESCRIPTION, CARD):
        assert (tmp_path / "again" / name).read_bytes() == (diffusion / name).read_bytes()


def test_learnables_only(coop: Path, diffusion: Path) -> None:
    assert set(read_tensors(coop / TENSORS)[0]) == {"learner.ctx"}
    names = set(read_tensors(diffusion / TENSORS)[0])
    assert {name.split(".")[0] for name in names} == {"learner", "generator"}
    assert {"learner.ctx", "generator.normaliser.scale", "generator.noise"} < names
    assert read_description(coop).generator is None


def test_the_card_says_what_it_is(diffusion: Path) -> None:
    text = (diffusion / CARD).read_text()
    for part in ("cocoop", "diffusion", "colours", "2 images per class", "`clip`", *CLASSES):
        assert part in text


def test_missing_files(coop: Path, clip: Clip) -> None:
    (coop / TENSORS).unlink()
    assert "no such file" in refused(coop, clip)
    (coop / DESCRIPTION).unlink()
    assert "no such file" in refused(coop, clip)


def test_tensors_that_do_not_fit_are_named_together(diffusion: Path, clip: Clip) -> None:
    change(
        diffusion,
        learner__ctx=None,
        learner__extra=torch.zeros(2),
        learner__meta_net__linear1__bias=torch.zeros(9),
    )
    text = refused(diffusion, clip)
    assert "missing learner.ctx" in text
    assert "unexpected learner.extra" in text
    assert "learner.meta_net.linear1.bias: expected (1,), got (9,)" in text


@pytest.mark.parametrize("name", ["generator__extra", "elsewhere"])
def test_left_over_tensors(coop: Path, diffusion: Path, clip: Clip, name: str) -> None:
    for folder in (coop, diffusion):
        change(folder, **{name: torch.zeros(1)})
        assert "unexpected" in refused(folder, clip)


def test_missing_generator_tensors(diffusion: Path, clip: Clip) -> None:
    change(diffusion, generator__noise=None)
    assert "missing generator.noise" in refused(diffusion, clip)


def test_altered_tensors(coop: Path, clip: Clip) -> None:
    ctx = read_tensors(coop / TENSORS)[0]["learner.ctx"]
    changed = ctx.clone()
    changed.view(-1)[0] += 1e-3
    change(coop, rehash=False, learner__ctx=changed)
    assert "not those that artifact.json describes" in refused(coop, clip)
    change(coop, rehash=False, learner__ctx=ctx.double())  # the same values as another type
    assert "not those that artifact.json describes" in refused(coop, clip)
    change(coop, rehash=False, learner__ctx=ctx)
    load_artifact(coop, clip=clip)


def test_a_flipped_bit_in_the_file(coop: Path, clip: Clip) -> None:
    raw = bytearray((coop / TENSORS).read_bytes())
    raw[-1] ^= 1
    (coop / TENSORS).write_bytes(raw)
    assert "not those that artifact.json describes" in refused(coop, clip)


@pytest.mark.parametrize("keep", [0, 5, -4])
def test_a_truncated_file(coop: Path, clip: Clip, keep: int) -> None:
    (coop / TENSORS).write_bytes((coop / TENSORS).read_bytes()[:keep])
    assert "safetensors" in refused(coop, clip)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("format", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_runs(
    coop: Path, clip: Clip, tmp_path: Path, format: str
) -> None:
    trace = tmp_path / "ran"
    if format == "pickle":
        (coop / TENSORS).write_bytes(pickle.dumps({"learner.ctx": Bomb(trace)}))
    else:
        torch.save({"learner.ctx": Bomb(trace)}, coop / TENSORS)
    refused(coop, clip)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # the bomb is a real one
    assert trace.exists()


def test_another_backbone(coop: Path, tmp_path: Path) -> None:
    other = load_clip(make_clip(tmp_path / "other", seed=1))
    text = refused(coop, other)
    assert read_description(coop).backbone_hash in text
    assert other.weights_hash in text
    assert "--backbone" in text


def test_another_preprocessing(coop: Path, place: Path, tmp_path: Path) -> None:
    changed = load_clip(make_clip(tmp_path / "clip"))
    assert changed.weights_hash == read_description(coop).backbone_hash
    edit(coop, preprocess__image_mean=[0.5, 0.5, 0.5])
    assert "preprocessor_config.json" in refused(coop, changed)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"spec__0__layer": 1}, "spec_hash"),
        ({"spec__0__length": 2}, "spec_hash"),
        ({"spec": []}, "spec_hash"),
        ({"spec_hash": "0" * 16}, "0" * 16),
        ({"learner_config__num_ctx": 3}, "spec_hash"),
        ({"learner_config__num_ctx": "4"}, "describes nothing that can be built"),
        ({"learner_config__depth": 9}, "has no option 'depth'"),
        ({"learner": "cocop"}, "Did you mean 'cocoop'?"),
        ({"generator__config__nfe": 0}, "diffusion.nfe: got 0, expected"),
        ({"generator__config__wings": 2}, "wings"),
        ({"generator__config__network": "huge"}, "huge"),
        ({"generator__config__sampler": "dpmpp_2n"}, "dpmpp_2m"),
        ({"generator__config__network": "paper"}, "expected"),
        ({"generator": None}, "of a generator"),
    ],
)
def test_an_altered_description(
    diffusion: Path, clip: Clip, fields: dict[str, Any], part: str
) -> None:
    edit(diffusion, **fields)
    assert part in refused(diffusion, clip)


def test_unknown_and_missing_fields_are_named_together(coop: Path, clip: Clip) -> None:
    edit(coop, wings=2, classes=3, generator={"name": "x"})
    data = json.loads((coop / DESCRIPTION).read_text())
    del data["learner"]
    (coop / DESCRIPTION).write_text(json.dumps(data))
    text = refused(coop, clip)
    for field in ("wings", "classes", "generator.name", "generator.seed", "learner"):
        assert f"\n  {field}: " in text


def test_an_artifact_of_a_later_version_says_what_reads_it(coop: Path, clip: Clip) -> None:
    edit(coop, schema_name="diffuprompt.artifact/9")
    text = refused(coop, clip)
    assert "'diffuprompt.artifact/9'" in text
    assert "a later version needs that version: pip install --upgrade diffuprompt" in text


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_description(coop: Path, clip: Clip, content: str) -> None:
    (coop / DESCRIPTION).write_text(content)
    assert DESCRIPTION in refused(coop, clip)


def test_a_backbone_that_is_not_here_is_asked_for(
    coop: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"need the backbone 'clip' .* with --backbone"):
        load_artifact(coop)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_artifact(coop, backbone=str(tmp_path / "nowhere"))
    assert load_artifact(coop, backbone=str(place / "clip")).clip.name == str(place / "clip")
    assert load_artifact(place / "coop" / "artifact").description == read_description(coop)


@pytest.mark.parametrize("specific", [True, False])
def test_an_artifact_of_0_1_gives_equal_logits(tmp_path: Path, specific: bool) -> None:
    """There ``class_specific`` was the number of classes with a context of their own."""
    tiny, classes = tower("plain-vit", torch.float32), Classes(NAMES)
    options = CoOpOptions(num_ctx=3, class_specific=specific).for_classes(NAMES)
    learner = build_learner("coop", tiny, options, generator=torch_stream(0, "init"))
    save_artifact(tmp_path, learner, NAMES, None, {})
    data = json.loads((tmp_path / DESCRIPTION).read_text())
    assert data["learner_config"].pop("num_classes") == (len(NAMES) if specific else 0)
    data["learner_config"]["class_specific"] = len(NAMES) if specific else 0
    del data["checksum"]
    (tmp_path / DESCRIPTION).write_text(json.dumps(data))
    loaded = load_artifact(tmp_path, clip=tiny).learner
    assert loaded.options == options
    images = pictures(tiny, 3)
    with torch.no_grad():
        want = learner.logits(images, classes)
        assert torch.equal(loaded.logits(images, classes), want)


@pytest.mark.parametrize("change", ["name", "backbone", "training"])
def test_one_letter_of_the_description_is_told(coop: Path, place: Path, change: str) -> None:
    """What nothing else contradicts: a class is called otherwise, or was trained otherwise."""
    text = (coop / DESCRIPTION).read_text()
    data = json.loads(text)
    if change == "name":
        data["classes"][0] += "s"
    elif change == "training":
        data["training"]["seed"] += 1
    else:
        data["backbone"] += "x"
    (coop / DESCRIPTION).write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"artifact\.json: its checksum differs"):
        load_artifact(coop, backbone=str(place / "clip"))
    (coop / DESCRIPTION).write_text(text)
    load_artifact(coop, backbone=str(place / "clip"))
