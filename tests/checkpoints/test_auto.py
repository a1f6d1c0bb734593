"""The backbone ``auto``: never the scenes' own for photographs, the same for everybody, or none."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from diffuprompt.checkpoints import automatic, hub, load as door
from diffuprompt.checkpoints.automatic import FROM_HUB, choose_backbone, find_backbone
from diffuprompt.data.catalog import SCENE_STYLES
from diffuprompt.errors import CheckpointError

BUNDLE = door.ASSETS / door.BUNDLED


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of models, empty; no hub unless a test brings one."""
    monkeypatch.setattr(door, "CHECKOUT", Path("nowhere"))
    monkeypatch.setattr(automatic, "has_hub", lambda: False)
    monkeypatch.delenv("DIFFUPROMPT_DATA", raising=False)
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def put(folder: Path, config: Any = None, **vision: Any) -> Path:
    """Write a folder that looks like a CLIP as far as it is looked at."""
    folder.mkdir(parents=True)
    config = {"model_type": "clip", "vision_config": vision} if config is None else config
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("style", SCENE_STYLES)
def test_the_scenes_have_their_own(models: Path, style: str) -> None:
    put(models / "photographs")
    assert choose_backbone(style).name == find_backbone(style) == "scenes-clip"


def test_what_is_not_here_yet_is_not_found(models: Path) -> None:
    """Whoever only looks neither downloads nor fails."""
    assert find_backbone("birds") is None
    put(models / "photographs")
    assert find_backbone("birds") == choose_backbone("birds").name == "photographs"


@pytest.mark.parametrize("data", ["", "caltech101", "~/Pictures/birds", "./scenes", "birds.csv"])
@pytest.mark.parametrize("small", ["a", "owner/a", "z"])
def test_the_largest_image_tower_is_for_all_else(models: Path, data: str, small: str) -> None:
    put(models / small, hidden_size=256, num_hidden_layers=4, image_size=7, patch_size=1)
    put(models / "middle", patch_size=32)
    assert choose_backbone(data).name == "middle"
    put(models / "owner/large", patch_size=16)
    assert choose_backbone(data).name == "owner/large"


def test_equal_ones_by_name(models: Path) -> None:
    for name in ("b", "a", "c"):
        put(models / name)
    assert choose_backbone().name == "a"


@pytest.mark.parametrize("name", ["scenes-clip", "mine", "owner/scenes-clip", "clip-for-photos"])
def test_the_scenes_own_is_never_chosen_under_any_name(models: Path, name: str) -> None:
    shutil.copytree(BUNDLE, models / name)
    with pytest.raises(CheckpointError, match="no CLIP for photographs"):
        choose_backbone("birds")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert"},
        {"model_type": "siglip", "vision_config": {}},
        {"_class_name": "AutoencoderKL"},
        [],
        None,
        "clip",
    ],
)
def test_other_models_are_no_clip(models: Path, config: Any) -> None:
    put(models / "a").joinpath("config.json").write_text(json.dumps(config))
    put(models / "b")
    choice = choose_backbone()
    assert (choice.name, choice.left_out) == ("b", ())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        '{"model_type": "clip", "vision_config": []}',
        '{"model_type": "clip", "vision_config": {"hidden_size": "wide"}}',
        '{"model_type": "clip", "vision_config": {"patch_size": 0}}',
        '{"model_type": "clip", "vision_config": {"image_size": [224, 224]}}',
    ],
)
def test_damaged_ones_are_left_out_and_named(
    models: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(models / "broken").joinpath("config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"left out .*broken"):
        choose_backbone()
    put(models / "whole")
    with caplog.at_level(logging.INFO, "diffuprompt"):
        assert choose_backbone().name == "whole"
    assert any("broken" in r.getMessage() for r in caplog.records if r.levelname == "WARNING")


def test_one_without_weights_is_left_out(models: Path) -> None:
    (put(models / "half", patch_size=8) / "model.safetensors").unlink()
    put(models / "whole")
    assert choose_backbone().name == "whole"


def test_a_model_in_the_place_of_a_folder_of_models_is_told(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(put(models / "clip")))
    with pytest.raises(CheckpointError, match="clip: a model itself; set DIFFUPROMPT_MODELS to"):
        choose_backbone()


def test_what_was_chosen_is_said_in_one_line(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(models / "a")
    with caplog.at_level(logging.INFO, "diffuprompt"):
        choose_backbone()
    (record,) = caplog.records
    assert record.getMessage() == f"backbone: a (in {models}; another: --backbone NAME|DIR)"


def test_a_folder_comes_before_the_cache_and_the_cache_before_the_network(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = "openai/clip-vit-large-patch14", "openai/clip-vit-base-patch32"
    folders = {small: put(tmp_path / "32"), large: put(tmp_path / "14", hidden_size=1024)}
    asked = []
    monkeypatch.setattr(automatic, "has_hub", lambda: True)
    monkeypatch.setattr(automatic, "cached", folders.get)
    monkeypatch.setattr(automatic, "fetch", asked.append)
    assert choose_backbone().name == large
    del folders[large]
    assert choose_backbone().name == small
    put(models / "own", hidden_size=64)
    assert choose_backbone().name == "own"
    shutil.rmtree(models / "own")
    folders.clear()
    assert choose_backbone(download=False).name == FROM_HUB
    assert not asked
    assert choose_backbone().name == FROM_HUB
    assert asked == [FROM_HUB]


def test_without_the_hubs_client_it_says_what_to_install(models: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        choose_backbone("birds")
    assert "next: pip install huggingface_hub" in str(caught.value)
    assert f"hf download {FROM_HUB}" in str(caught.value)
    assert str(models) in str(caught.value)


class OfNoKnownBase(Exception):
    """As a proxy's and a client's errors are."""


@pytest.mark.parametrize(
    "error", [OSError("a"), ValueError("a"), RuntimeError("a"), OfNoKnownBase("a\nb"), KeyError()]
)
@pytest.mark.parametrize("name", ["auto", "some/clip"])
def test_whatever_goes_wrong_at_the_hub_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, error: Exception, name: str
) -> None:
    library = pytest.importorskip("huggingface_hub")

    def fail(repo: str, timeout: float) -> None:
        raise error

    monkeypatch.setattr(automatic, "has_hub", lambda: True)
    for room in (automatic, hub):
        monkeypatch.setattr(room, "cached", lambda repo: None)
    monkeypatch.setattr(library, "model_info", fail)
    with pytest.raises(CheckpointError, match="hf download") as caught:
        choose_backbone() if name == "auto" else door.load_clip(name)
    assert (str(error).splitlines() or ["KeyError"])[0] in str(caught.value)


def test_a_network_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "cached", lambda repo: None)
        monkeypatch.setattr(hub, "PATIENCE_S", 0.2)
        start = time.monotonic()
        with pytest.raises(CheckpointError, match="cannot be downloaded"):
            hub.fetch("some/clip-that-nobody-has")
        assert time.monotonic() - start < 10  # it waits for ever without a bound
