"""One's own pictures, with a detector of transformers; and what is wrong with an annotation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.grounding.own_pictures import own_pictures
from tests.grounding.tiny_detectors import mm_model, numbered_tokenizer
from tests.grounding.tiny_jobs import SETS, tiny_job

from diffuprompt.cli.main import main
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.artifact import load_grounder
from diffuprompt.grounding.detectors import mm_folder
from diffuprompt.jobs.grounding.run import evaluate_grounding, train_grounding
from diffuprompt.record_grounding import read_grounding_record


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def mm_at_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of transformers with random weights, which reads pictures of 64 px."""
    folder = tmp_path / "mm-tiny"
    mm_model().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(numbered_tokenizer().to_json(), encoding="utf-8")
    defaults = mm_folder.load_mm_grounding_dino.__kwdefaults__
    monkeypatch.setitem(defaults, "side", 64)
    return folder


def test_mm_grounding_dino_trains_is_scored_and_predicts(
    tmp_path: Path, mm_at_64: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands, with weights that know nothing."""
    file, run = own_pictures(tmp_path / "cups"), tmp_path / "run"
    few = ("vae_fit.batch", "generator_fit.batch", "fit.batch")
    sets = ["method.depth=1", *(text for text in SETS if not text.startswith(few))]
    sets += [f"{name}=4" for name in few]
    words = ["ground", "train", "--data", str(file), "--detector", str(mm_at_64), "--out", str(run)]
    words += [word for value in sets for word in ("--set", value)]
    assert main(words) == 0
    assert main(["ground", "evaluate", str(run)]) == 0
    record = read_grounding_record(run / "record.json")
    assert (record.job.dataset, record.job.detector, record.job.expressions) == (
        "cups", "mm-tiny", 12,
    )  # fmt: skip
    (scores,) = record.tests
    assert (scores.test, scores.total, len(set(scores.pictures()))) == ("test", 4, 2)
    assert scores.mask_ious() is not None
    assert str(tmp_path) not in record.command
    capsys.readouterr()
    texts = ["the red cup", "the green cup left of the red cup"]
    words = ["ground", "predict", str(tmp_path / "cups" / "0.png"), *texts, "--samples", "2"]
    assert main([*words, "--artifact", str(run), "--json", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    found = json.loads(said)
    assert [(one["expression"], one["root"]) for one in found] == [
        (texts[0], "red cup"), (texts[1], "green cup"),
    ]  # fmt: skip
    for one in found:
        assert 0 < one["agreement"] <= 1
        assert one["predictions"]
        for x0, y0, x1, y1 in (p["box"] for p in one["predictions"]):
            assert -1e-3 <= x0 <= x1 <= 48 + 1e-3
            assert -1e-3 <= y0 <= y1 <= 40 + 1e-3
    grounder = load_grounder(run)
    with Image.open(tmp_path / "cups" / "0.png") as picture:
        (one, _) = grounder(picture, texts, samples=2)
    assert one.maps is not None
    assert one.maps.shape == (2, 2, 32, 32)


BROKEN = {
    "box": ({"bbox": [40, 2, 18, 16]}, "annotation 11"),
    "caption": ({"caption": " "}, "annotation 11"),
    "polygon": ({"segmentation": [[1, 1, 9, 9]]}, "annotation 11"),
    "picture": ({"image_id": 77}, "77"),
}


@pytest.mark.parametrize(("changes", "named"), BROKEN.values(), ids=list(BROKEN))
def test_the_command_refuses_a_malformed_annotation_before_training(
    changes: dict[str, object],
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = own_pictures(tmp_path / "cups", **changes)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = ["ground", "train", "--data", str(file), "--detector", "scenes-glip"]
    assert main(words) == 3
    said = capsys.readouterr().err
    assert named in said
    assert "annotation 11" in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_what_needs_masks_says_so_before_training(tmp_path: Path) -> None:
    file, runs = own_pictures(tmp_path / "cups"), tmp_path / "runs"
    text = file.read_text().replace('"segmentation"', '"outline"')
    file.write_text(text)
    for method in ("diff-prompt", "oracle", "noise", "independent"):
        with pytest.raises(DataError, match="its annotations have none"):
            train_grounding(tiny_job(runs, method, data=str(file), detector="scenes-glip"))
    assert not runs.exists()


def test_a_run_is_scored_on_what_it_learned_from_or_refused(tmp_path: Path) -> None:
    file, runs = own_pictures(tmp_path / "cups"), tmp_path / "runs"
    job = tiny_job(runs, "vpt", data=str(file), detector="scenes-glip")
    run = train_grounding(job)
    evaluate_grounding(run)
    (run / "record.json").unlink()
    text = file.read_text()
    file.write_text(text.replace("the red cup", "the red ring"))
    assert file.read_text() != text
    for again in (evaluate_grounding, lambda _: train_grounding(job)):
        with pytest.raises(ConfigError, match="trained on something else"):
            again(run)
    file.write_text(text)
    (stage,) = (runs / ".stages" / "grounding-method").iterdir()
    shutil.rmtree(stage)
    with pytest.raises(DataError, match="gone, and with it what the run learned"):
        evaluate_grounding(run)
    assert not stage.exists(), "nothing is trained anew"


def test_a_missing_test_split_is_told_before_training(tmp_path: Path) -> None:
    file, runs = own_pictures(tmp_path / "cups"), tmp_path / "runs"
    job = tiny_job(runs, "vpt", data=str(file), detector="scenes-glip", test=("testB",))
    with pytest.raises(DataError, match="testB"):
        train_grounding(job)
    assert not list(runs.glob("ground-*"))
