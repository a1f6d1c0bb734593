"""An artifact's temperature and threshold: fitted, kept, used by predict; old ones as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import asked, command

from diffuprompt.data import open_dataset
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.hub import Classifier
from diffuprompt.jobs import calibrate_run, evaluate_run, train_job
from diffuprompt.jobs.calibrate import HeldOut, fitted
from diffuprompt.record import read_record


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train_job(asked(world, learner="tip-adapter", protocol="few-shot", runs_dir=runs))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of a trained run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def told(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "artifact" / "artifact.json").read_text())
    return found


def pictures(world: Path) -> list[Path]:
    return sorted((world / "colours").rglob("*.png"))


def test_without_a_calibration_everything_is_as_before(world: Path, run: Path) -> None:
    assert "calibration" not in told(run)
    model = Classifier.from_pretrained(run)
    found = model.recognise(pictures(world)[:4])
    assert found.none_of_these is None
    assert torch.equal(found.probabilities, model.predict(pictures(world)[:4]))


def test_training_pictures_are_held_out_and_predict_uses_what_was_fitted(
    world: Path, run: Path
) -> None:
    before = Classifier.from_pretrained(run)
    assert calibrate_run(run, train=False) is None, "seven validation pictures are too few"
    found = calibrate_run(run, folds=2)
    assert found is not None
    assert (found.held_out, found.score, found.others) == ("folds", "energy", 0)
    model, names = Classifier.from_pretrained(run), pictures(world)
    assert model.calibration == found
    plain = before.predict(names).double().log()
    assert model.predict(names).double().log() == pytest.approx(
        (plain / found.temperature).log_softmax(1), abs=1e-4
    )
    none = model.recognise(names).none_of_these
    assert none is not None
    assert none.float().mean() < 0.5, "it knows most of its own colours"
    other = model.with_classes(["a", "b"])
    assert other.calibration is None
    assert other.recognise(names[:2]).none_of_these is None
    record = read_record(evaluate_run(run))
    assert {"ece_before", "ece_after", "unknown_auroc_energy"} <= record.statistics.keys()
    again = calibrate_run(run, folds=3)
    assert again is not None
    assert again.measured != found.measured
    later = read_record(run / "record.json")
    assert later.statistics == {**record.statistics, **again.measured}
    assert later.scores == record.scores


def test_a_folder_of_others_moves_the_threshold(
    world: Path, run: Path, tmp_path: Path, paint: Callable[[Path], None]
) -> None:
    paint(tmp_path / "other")
    found = command("calibrate", run, "--unknown", tmp_path / "other", "--folds", 2)
    assert found.code == 0, found.err
    assert "and 3 of something else" in found.out
    assert told(run)["calibration"]["others"] == 3
    shown = command("predict", *pictures(world)[:2], "--artifact", run, "--json")
    assert [type(row["none_of_these"]) for row in json.loads(shown.out)] == [bool, bool]


@pytest.fixture
def paint() -> Callable[[Path], None]:
    """Return what writes three pictures of noise below a folder."""

    def write(folder: Path) -> None:
        from PIL import Image

        (folder / "deep").mkdir(parents=True)
        for i in range(3):
            noise = torch.randint(256, (32, 32, 3), generator=torch.Generator().manual_seed(i))
            Image.fromarray(noise.byte().numpy()).save(folder / "deep" / f"{i}.png")

    return write


def test_wrong_folders_and_altered_thresholds_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"unknown: no pictures in .*empty; put some in"):
        calibrate_run(run, unknown=tmp_path / "empty")
    with pytest.raises(DataError, match=r"unknown: .*gone is no folder"):
        calibrate_run(run, unknown=tmp_path / "gone")
    calibrate_run(run, folds=2)
    data = told(run)
    data["calibration"]["threshold"] += 1
    (run / "artifact" / "artifact.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="checksum differs"):
        Classifier.from_pretrained(run)


def test_pictures_that_were_renamed_since_are_refused(
    world: Path, run: Path, tmp_path: Path
) -> None:
    """Names say which pictures train: other names would call trained ones held out."""
    colours = shutil.copytree(world / "colours", tmp_path / "colours")
    stored = json.loads((run / "run.json").read_text())
    stored["job"] |= {"data": str(colours), "test_data": [str(tmp_path / "gone")]}
    (run / "run.json").write_text(json.dumps(stored))
    assert calibrate_run(run, train=False) is None, "other test sets need not be there"
    splits = open_dataset(str(colours)).splits
    val = splits["val"][0]
    train = next(item for item in splits["train"] if item.label == val.label)
    one, other = colours / val.path, colours / train.path
    one.rename(tmp_path / "one.png")
    other.rename(one)
    (tmp_path / "one.png").rename(other)
    with pytest.raises(ConfigError, match="was trained on something else than is there now"):
        calibrate_run(run, folds=2)


def test_half_of_the_names_play_the_unknown_ones() -> None:
    """Known pictures have one high logit; those of names left out have none among the rest."""
    labels = torch.arange(6).repeat(10)
    logits = 5 * torch.nn.functional.one_hot(labels, 6).double()
    found = fitted(HeldOut(logits=logits, labels=labels, source="val"))
    assert found.measured["unknown_auroc_energy"] == 100
    assert found.measured["unknown_fpr95_energy"] == 0
    stranger = torch.full((2, 6), 5.0, dtype=torch.double)
    told = fitted(HeldOut(logits=logits, labels=labels, source="val"), strange_UC=stranger)
    assert told.measured["unknown_auroc_energy"] == 0, "all names at once have the most energy"
    assert told.measured["unknown_auroc_probability"] == 100
    assert told.threshold == found.threshold
    torn = labels + torch.arange(60) % 2  # every second picture is named wrongly
    told = fitted(HeldOut(logits=logits, labels=torn % 6, source="val"))
    assert told.temperature == 1, "what one half asks for is wrong for the other"
    assert told.measured["ece_after"] == told.measured["ece_before"]
    few = fitted(HeldOut(logits=logits[:, :3], labels=labels % 3, source="val"))
    assert set(few.measured) == {"ece_before", "ece_after"}, "three names have no halves"
