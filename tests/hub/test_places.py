"""An artifact's wish for a backbone: followed where that is harmless, else asked for once."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.world import command, make_clip

from diffuprompt.checkpoints import load as door
from diffuprompt.checkpoints.load import is_at_hand, is_name
from diffuprompt.errors import CheckpointError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.description import DESCRIPTION
from diffuprompt.hub.places import MEMORY, BackboneNeededError
from diffuprompt.runs.cache import cache_root


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at hand, and a download is noticed."""

    def download(repo: str) -> Path:
        raise AssertionError(f"{repo} was downloaded")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(door, "fetch", download)
    monkeypatch.setattr(door, "cached", lambda _: None)
    for name in ("DIFFUPROMPT_MODELS", "DIFFUPROMPT_DATA"):
        monkeypatch.delenv(name, raising=False)


def wish(folder: Path, name: str) -> None:
    data = json.loads((folder / DESCRIPTION).read_text())
    data.pop("checksum", None)
    (folder / DESCRIPTION).write_text(json.dumps({**data, "backbone": name}))


@pytest.mark.parametrize("name", ["owner/model", "x-y.z/clip_1"])
def test_a_download_is_asked_for_by_the_exact_option(coop: Path, name: str) -> None:
    wish(coop, name)
    with pytest.raises(BackboneNeededError, match=f"--backbone {name} downloads") as caught:
        load_artifact(coop)
    assert caught.value.name == name


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x.pt",
        "../clip",
        "./clip",
        "~/clip",
        "a/../../clip",
        "//server/share/clip",
        "x.pt",
        "",
        "owner/model\n--backbone /x",
        "a/b/c",
        "\u202eowner/model",
    ],
)
def test_a_path_is_never_followed(coop: Path, name: str, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "clip", tmp_path / "clip", dirs_exist_ok=True)
    wish(coop, name)
    with pytest.raises(BackboneNeededError, match="--backbone DIR") as caught:
        load_artifact(coop)
    assert caught.value.name == ""
    assert "\u202e" not in str(caught.value)


def test_an_absolute_path_is_not_followed_even_to_the_right_weights(
    coop: Path, place: Path
) -> None:
    wish(coop, str(place / "clip"))
    with pytest.raises(BackboneNeededError):
        load_artifact(coop)


def test_an_answer_is_remembered(coop: Path, place: Path, tmp_path: Path) -> None:
    wish(coop, "owner/model")
    other = make_clip(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="weights"):
        load_artifact(coop, backbone=str(other))
    assert not (cache_root() / MEMORY).exists()  # a wrong answer is none
    load_artifact(coop, backbone=str(place / "clip"))
    assert load_artifact(coop).clip.name == str(place / "clip")
    wish(coop, "someone/else")  # the answer belongs to the weights
    load_artifact(coop)
    (cache_root() / MEMORY).write_text("[1")
    with pytest.raises(BackboneNeededError):
        load_artifact(coop)
    load_artifact(coop, backbone=str(place / "clip"))
    load_artifact(coop)


def test_an_answer_that_is_gone_is_asked_for_again(coop: Path, place: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(place / "clip", tmp_path / "moved"))
    wish(coop, "owner/model")
    load_artifact(coop, backbone=str(moved))
    moved.rename(tmp_path / "again")
    with pytest.raises(BackboneNeededError):
        load_artifact(coop)


def test_the_path_of_a_run_is_followed_to_the_right_weights_only(
    place: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(place / "coop", tmp_path / "run"))
    load_artifact(run / "artifact")
    other = make_clip(tmp_path / "other", seed=1)
    content = json.loads((run / "run.json").read_text())
    for wanted in (str(other), "owner/model", "/dev/zero", 3, None, "\0"):
        content["job"]["backbone"] = wanted
        (run / "run.json").write_text(json.dumps(content))
        with pytest.raises(BackboneNeededError):
            load_artifact(run / "artifact")
    for text in ("[]", "null", "{", '{"job": []}'):
        (run / "run.json").write_text(text)
        with pytest.raises(BackboneNeededError):
            load_artifact(run / "artifact")


def test_what_is_at_hand_is_used(
    coop: Path, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(place))
    load_artifact(coop)  # a folder of this name there
    monkeypatch.delenv("DIFFUPROMPT_MODELS")
    wish(coop, "owner/model")
    monkeypatch.setattr(door, "cached", lambda _: place / "clip")
    monkeypatch.setattr(door, "fetch", lambda _: place / "clip")
    load_artifact(coop)  # downloaded before
    monkeypatch.setattr(door, "cached", lambda _: None)
    wish(coop, "openai/clip-vit-base-patch16")
    load_artifact(coop)  # a model that everybody knows
    wish(coop, "clip")
    shutil.copytree(place / "clip", tmp_path / "clip")
    load_artifact(coop)  # a folder of this name here, with the right weights
    shutil.rmtree(tmp_path / "clip")
    make_clip(tmp_path / "clip", seed=1)
    with pytest.raises(BackboneNeededError):
        load_artifact(coop)


def test_names_and_paths() -> None:
    assert all(map(is_name, ("a", "a/b", "ViT-B/16", "clip-1.0/x_y")))
    assert not any(map(is_name, ("", "a/", "/a", "a/..", "../a", "a//b", "a\\b", "a b", "x.pt")))
    assert is_at_hand("ViT-B/16")
    assert is_at_hand("scenes-clip")
    assert not is_at_hand("owner/model")


# The question


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Keyboard:
        answer, asked = "", 0

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            self.asked += 1
            return self.answer + "\n"

    keyboard = Keyboard()
    monkeypatch.setattr(sys, "stdin", keyboard)
    return keyboard


@pytest.fixture
def picture(place: Path) -> Path:
    return next((place / "colours" / "red").iterdir())


def test_nobody_is_asked_without_a_terminal(coop: Path, picture: Path) -> None:
    wish(coop, "owner/model")
    done = command("predict", picture, "--artifact", coop)
    assert done.code == CheckpointError.exit_code
    assert "--backbone owner/model" in done.err


def test_one_question_on_a_terminal(
    coop: Path, picture: Path, place: Path, terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffuprompt.cli import ask_backbone

    monkeypatch.setattr(ask_backbone, "is_interactive", lambda: True)
    wish(coop, "owner/model")
    assert command("predict", picture, "--artifact", coop).code == CheckpointError.exit_code
    terminal.answer = str(place / "clip")
    assert command("predict", picture, "--artifact", coop).code == 0
    assert terminal.asked == 2
    assert command("predict", picture, "--artifact", coop).code == 0
    assert terminal.asked == 2  # remembered


def test_yes_downloads_what_was_named(
    coop: Path, picture: Path, place: Path, terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffuprompt.cli import ask_backbone

    monkeypatch.setattr(ask_backbone, "is_interactive", lambda: True)
    monkeypatch.setattr(door, "fetch", lambda repo: {"owner/model": place / "clip"}[repo])
    wish(coop, "owner/model")
    terminal.answer = "y"
    assert command("predict", picture, "--artifact", coop).code == 0
