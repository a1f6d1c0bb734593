"""`ground predict` and `ground demo` with a grounder of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.grounding.tiny_grounder import save_tiny, save_tiny_run

from diffuprompt.cli.main import main
from diffuprompt.cli.runs import find_newest_grounder, list_runs

KNOWN = ["red ring", "the blue square left of a red ring"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_boxes_agreement_and_a_drawing(
    tiny: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ground", "predict", str(picture), *KNOWN, "--artifact", str(tiny), "--samples", "3"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    first, second = out.strip().split("\n\n")
    assert first.splitlines()[0] == KNOWN[0]
    assert second.splitlines()[0] == KNOWN[1]
    assert first.splitlines()[1].endswith("%")
    assert "% agree on the best box" in first.splitlines()[-1]
    assert "drawn: picture-grounded.png" in err
    with Image.open("picture-grounded.png") as drawing:
        one_row = drawing.height // 2
        assert drawing.width > 5 * 100, "picture, two maps, mean and spread beside one another"
    assert main([*words[:3], KNOWN[0], *words[5:], "--out", "there/x.png"]) == 0
    with Image.open("there/x.png") as drawing:
        assert drawing.height < one_row + 20


def test_json_is_in_pixels_of_the_picture_and_repeats_itself(
    tiny: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ground", "predict", str(picture), "@texts.txt", "--artifact", str(tiny), "--json"]
    Path("texts.txt").write_text("\n".join(["", *KNOWN, ""]))
    found = []
    for _ in range(2):
        assert main([*words, "--samples", "2"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert not Path("picture-grounded.png").exists()
    assert [row["expression"] for row in found[0]] == KNOWN
    row = found[0][0]
    assert (row["root"], row["samples"], len(row["draws"])) == ("red ring", 2, 2)
    assert row["draws"][0] == row["predictions"][0]["box"]
    scores = [one["score"] for one in row["predictions"]]
    assert scores == sorted(scores, reverse=True)
    right, down = np.array([one["box"] for one in row["predictions"]])[:, 2:].max(0)
    assert right <= 60
    assert down <= 40
    assert main([*words, "--out", "there"]) == 0
    assert Path("there/picture-grounded.png").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "name at least one expression"),
        (["red ring", " "], 2, "one is empty"),
        (["red ring", "the leftmost cup, red"], 3, "toy does not know cup"),
        (["red ring", "--out", "picture.png"], 2, "is the picture itself"),
        (["@none.txt"], 2, "none.txt: no such file"),
    ],
)
def test_what_is_wrong_is_named(
    words: list[str],
    code: int,
    message: str,
    tiny: Path,
    picture: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ground", "predict", "picture.png", *words, "--artifact", str(tiny)]) == code
    assert message in capsys.readouterr().err


def test_a_missing_picture_and_samples_of_what_draws_nothing(
    tiny: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ground", "predict", "none.jpg", "red ring", "--artifact", str(tiny)]
    assert main(words) == 3
    assert "none.jpg: no such file" in capsys.readouterr().err
    other = save_tiny(tiny.parent, "vpt")
    words = ["ground", "predict", "picture.png", "red ring", "--artifact", str(other)]
    assert main(words) == 0, "the picture alone is drawn"
    assert main([*words, "--samples", "2"]) == 2
    assert "draws nothing" in capsys.readouterr().err


def test_the_newest_run_is_used_else_what_is_bundled(
    tmp_path: Path,
    tiny: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["ground", "predict", "picture.png", "red ring"]
    monkeypatch.setattr("diffuprompt.grounding.bundled.ASSETS", tmp_path / "none")
    assert main(words) == 4
    assert "scenes-grounder is not part of this copy" in capsys.readouterr().err
    monkeypatch.setattr("diffuprompt.grounding.bundled.ASSETS", tmp_path)
    (tmp_path / "scenes-grounder").symlink_to(tiny)
    assert main(words) == 0
    assert "which knows only drawn scenes" in capsys.readouterr().err
    run, _ = save_tiny_run(tmp_path / "runs", count=4)
    control = tmp_path / "runs" / "run-2"
    control.mkdir()
    (control / "run.json").write_text("{}")
    save_tiny(tmp_path / "runs", source="truth").rename(control / "artifact")
    assert find_newest_grounder(tmp_path / "runs") == run, "a control that knows answers is not"
    assert [one.state for one in list_runs(tmp_path / "runs")] == ["evaluated", "trained"]
    assert main(words) == 0
    assert f"newest trained run, {Path('runs') / run.name}" in capsys.readouterr().err


def test_the_demo_compares_and_draws(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import diffuprompt.studies.grounding.demo as demo

    ask = demo.run_grounding_demo
    monkeypatch.setattr(
        "diffuprompt.studies.run_grounding_demo", lambda g, out, **more: ask(g, out, count=8)
    )
    assert main(["ground", "demo", "--artifact", str(tiny), "--out", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", "R@1", "R@5", "UB"] in rows
    assert {"zero-shot", "diff-prompt"} < {row[0] for row in rows if row}
    assert (tmp_path / "grounding.png").stat().st_size > 1000
