"""`predict` with a stand-in classifier: what is checked, what is printed, what is passed on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from diffuprompt.cli.main import main
from diffuprompt.cli.predict import artifact_folder, expand
from diffuprompt.cli.predictions import Prediction, as_text
from diffuprompt.errors import DataError

SEEN: dict[str, object] = {}


class StandIn:
    """Gives class i of C the probability (i + 1) / sum, so the last class is always best.

    Where it ``knows``, every second picture shows none of the classes.
    """

    knows = False

    def __init__(self, classes: Sequence[str] = ("cat", "dog", "horse")) -> None:
        self.classes = tuple(classes)
        self.backbone = "some-clip"

    @classmethod
    def from_pretrained(cls, path: Path, backbone: str | None, device: str) -> StandIn:
        SEEN.clear()
        SEEN.update(path=path, backbone=backbone, device=device)
        return cls()

    def with_classes(self, names: list[str]) -> StandIn:
        return StandIn(names)

    def recognise(
        self, paths: Sequence[Path], batch_size: int, *, progress: object, **samples: int
    ) -> SimpleNamespace:
        SEEN.update(paths=len(paths), batch_size=batch_size, **samples)
        weights = torch.arange(1.0, len(self.classes) + 1)
        rows = (weights / weights.sum()).expand(len(paths), -1)
        none = torch.tensor([i % 2 == 1 for i in range(len(paths))]) if self.knows else None
        doubt = torch.arange(1.0, len(paths) + 1) / 4
        drawn = SimpleNamespace(disagreement=doubt, std=doubt / 10, mutual_information=doubt / 100)
        return SimpleNamespace(
            probabilities=rows, none_of_these=none, drawn=drawn if samples else None
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two finished runs, three pictures, and a stand-in classifier."""
    monkeypatch.setattr("diffuprompt.hub.Classifier", StandIn)
    monkeypatch.chdir(tmp_path)
    for age, name in ((200, "older"), (100, "newer")):
        artifact = tmp_path / "runs" / name / "artifact" / "artifact.json"
        artifact.parent.mkdir(parents=True)
        artifact.write_text("{}")
        os.utime(artifact, (1_000_000 - age, 1_000_000 - age))
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    for name in ("b.png", "a.jpg", "deep/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    return tmp_path


def test_names_and_probabilities_of_the_newest_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "photos/a.jpg", "--top", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "photos/a.jpg\n  horse   50.00%\n  dog     33.33%\n"
    assert "newest finished run, runs/newer" in captured.err
    assert SEEN["path"] == Path("runs/newer/artifact")
    assert SEEN["backbone"] is None


def test_json_is_one_list_and_nothing_else_on_stdout(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "photos", "--json", "--batch-size", "2", "--classes", "lynx, snow leopard"]
    assert main([*words, "--artifact", "runs/older", "--backbone", "elsewhere"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in rows] == ["photos/a.jpg", "photos/b.png", "photos/deep/c.png"]
    assert [p["class"] for p in rows[0]["predictions"]] == ["snow leopard", "lynx"]
    assert rows[0]["predictions"][0]["probability"] == pytest.approx(2 / 3, abs=1e-6)  # fp32
    assert SEEN == {
        "path": Path("runs/older/artifact"),
        "backbone": "elsewhere",
        "device": "auto",
        "paths": 3,
        "batch_size": 2,
    }


def test_samples_add_how_far_draws_disagree(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "photos/a.jpg", "photos/b.png", "--top", "1", "--samples", "8"]
    assert main(words) == 0
    assert SEEN["samples"] == 8
    assert capsys.readouterr().out.splitlines() == [
        "photos/a.jpg",
        "  horse   50.00%",
        "  over 8 draws: 25% vote otherwise, first ± 2.50%, mutual information 0.0025 nats",
        "",
        "photos/b.png",
        "  horse   50.00%",
        "  over 8 draws: 50% vote otherwise, first ± 5.00%, mutual information 0.0050 nats",
    ]
    assert main([*words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[1]
    assert row.pop("predictions")[0]["class"] == "horse"
    assert row == {
        "image": "photos/b.png",
        "samples": 8,
        "disagreement": 0.5,
        "std": pytest.approx(0.05),
        "mutual_information": pytest.approx(0.005),
    }


def test_none_of_these_is_said_first_and_in_json(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "knows", True)
    words = ["predict", "photos/a.jpg", "photos/b.png", "--top", "1"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "photos/a.jpg",
        "  horse   50.00%",
        "",
        "photos/b.png",
        "  none of these; the nearest are",
        "  horse   50.00%",
    ]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["none_of_these"] for row in found] == [False, True]


def test_no_samples_at_all_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "a.png", "--samples", "0"]) == 2
    assert "--samples: got 0, expected a whole number from 1 to 1000" in capsys.readouterr().err


def test_all_unreadable_images_are_named_before_anything_is_predicted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SEEN.clear()
    whole = (place / "photos" / "a.jpg").read_bytes()
    (place / "photos" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "photos" / "empty.png").touch()
    assert main(["predict", "photos"]) == 3
    shown = capsys.readouterr().err
    assert "photos/cut.jpg" in shown
    assert "photos/empty.png" in shown
    assert not SEEN


def test_missing_paths_and_empty_folders_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        expand([tmp_path / "gone.png", tmp_path / "empty"])
    assert "gone.png: no such file" in str(caught.value)
    assert "no images in this folder" in str(caught.value)


def test_without_a_finished_run_it_says_what_to_do(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "photos", "--runs-dir", "nowhere"]) == 3
    assert "diffuprompt train" in capsys.readouterr().err


def test_a_run_or_an_artifact_may_be_named(place: Path) -> None:
    run = place / "runs" / "older"
    assert artifact_folder(run) == artifact_folder(run / "artifact") == run / "artifact"
    with pytest.raises(DataError, match=r"no artifact\.json"):
        artifact_folder(place / "photos")


def test_text_aligns_over_images_and_draws_bars_on_a_terminal() -> None:
    found = [
        Prediction(best=(("cat", 1.0),)),
        Prediction(best=(("snow leopard", 0.5), ("cat", 0.0))),
    ]
    shown = as_text([Path("a"), Path("b")], found, bars=True).splitlines()
    assert shown[1] == "  cat           100.00%  " + "█" * 20
    assert shown[4] == "  snow leopard   50.00%  " + "█" * 10
    assert shown[5] == "  cat             0.00%"
