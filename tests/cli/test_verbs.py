"""The other verbs, with stand-ins for the work that they start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffuprompt.cli import doctor
from diffuprompt.cli.main import main
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.record import Job, Record, Score, Variant, pack_hits


def record(folder: Path) -> Path:
    """Write a record with own prompts at 50 % on base and 25 % on new, diffusion at 75 and 50."""
    own, generated = Variant.own(), Variant.generated("diffusion")
    hits = {(own, "base"): 2, (own, "new"): 1, (generated, "base"): 3, (generated, "new"): 2}
    scores = tuple(
        Score(
            variant=variant,
            dataset="scenes",
            subset=subset,
            total=4,
            metrics={"accuracy": 25.0 * right},
            hits=pack_hits([i < right for i in range(4)]),
        )
        for (variant, subset), right in hits.items()
    )
    job = Job(
        dataset="scenes",
        backbone="scenes-clip",
        learner="cocoop",
        generator="diffusion",
        protocol="base-to-new",
        shots=16,
        seed=1,
    )
    empty: dict[str, Any] = dict(seconds={}, statistics={}, hashes={}, environment={}, config={})
    made = Record(job=job, scores=scores, trainable_parameters=1, command="", **empty)
    path = folder / "record.json"
    path.write_text(made.model_dump_json())
    return path


def make_run(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"resolved": config}))
    return folder


def test_evaluate_prints_base_new_and_h(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def evaluate_run(run_dir: Path, *, progress: object, **values: Any) -> Path:
        asked.append((run_dir, values))
        return record(run_dir)

    monkeypatch.setattr("diffuprompt.jobs.evaluate_run", evaluate_run)
    runs = [make_run(tmp_path / name) for name in ("one", "two")]
    assert main(["evaluate", *map(str, runs), "--no-oracle"]) == 0
    rest: dict[str, Any] = {"data": (), "data_root": None, "again": False, "rehash": False}
    rest["allow_outside"] = False
    assert asked == [(run, {"evaluation": Evaluation(oracle=False), **rest}) for run in runs]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Base", "New", "H"] in rows
    assert ["CoCoOp", "50.00", "25.00", "33.33"] in rows  # 2 * 50 * 25 / 75
    assert ["CoCoOp", "+", "diffusion", "75.00", "50.00", "60.00"] in rows


def test_evaluate_passes_on_what_is_to_be_tested_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def evaluate_run(run_dir: Path, **values: Any) -> Path:
        asked.append(values)
        return record(run_dir)

    monkeypatch.setattr("diffuprompt.jobs.evaluate_run", evaluate_run)
    words = ["--data", "scenes", "./birds:new", "--data-root", str(tmp_path), "--again", "--rehash"]
    assert main(["evaluate", str(make_run(tmp_path / "one")), *words]) == 0
    (found,) = asked
    assert found["data"] == ("scenes", "./birds:new")
    assert found["data_root"] == tmp_path
    assert found["again"] is found["rehash"] is True


def test_evaluate_looks_at_all_folders_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("diffuprompt.jobs.evaluate_run", None)
    good = make_run(tmp_path / "good")
    assert main(["evaluate", str(good), str(tmp_path / "x"), str(tmp_path / "y")]) == 3
    shown = capsys.readouterr().err
    assert "x: not a run folder" in shown
    assert "y: not a run folder" in shown


def pictures(folder: Path) -> Path:
    for name in ("cat", "dog"):
        for i in range(4):
            path = folder / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = (60 * i, 50, 200 * (name == "cat"))  # no two alike
            Image.new("RGB", (4, 4), colour).save(path)
    return folder


def test_data_verify_counts_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(pictures(tmp_path / "pets"))]) == 0
    shown = capsys.readouterr().out
    assert "pets: 2 classes" in shown
    assert "0 error(s)" in shown


def test_data_verify_names_every_bad_image_and_exits_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "pets")
    for name in ("cat/0.png", "dog/1.png"):
        (folder / name).write_bytes(b"")
    assert main(["data", "verify", str(folder)]) == 3
    shown = capsys.readouterr().out
    assert "cat/0.png" in shown
    assert "dog/1.png" in shown
    assert "2 error(s)" in shown


def test_ls_runs_shows_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a-started", learner="coop", shots=4)
    trained = make_run(tmp_path / "b-trained", learner="cocoop")
    (trained / "artifact").mkdir()
    (trained / "artifact" / "artifact.json").write_text("{}")
    record(make_run(tmp_path / "c-done"))
    (tmp_path / "not-a-run").mkdir()
    assert main(["ls", "runs", "--runs-dir", str(tmp_path)]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["a-started", "unfinished"], ["b-trained", "trained"], ["c-done", "evaluated"]]


def test_ls_matches_a_glob(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "datasets", "scenes-s*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "scenes-sketch"
    ]
    assert main(["ls", "datasets", "nothing*"]) == 0
    assert "no datasets match 'nothing*'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("learners", "cocoop"),
        ("backbones", "scenes-clip"),
        ("datasets", "caltech101"),
        ("generators", "diffusion"),
        ("presets", ""),
    ],
)
def test_ls_lists_what_the_other_verbs_take(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert any(line.startswith(name) for line in lines[2:])


def test_doctor_fails_only_for_what_is_essential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looks(missing: str) -> Any:
        return lambda: iter(
            [doctor.package("diffuprompt-no-such-part", missing=missing, fix="pip install it")]  # type: ignore[arg-type]
        )

    monkeypatch.setattr(doctor, "LOOKS", (doctor.python, looks("note")))
    assert main(["doctor"]) == 0
    assert "fix: pip install it" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "LOOKS", (doctor.python, looks("fail")))
    assert main(["doctor"]) == 4
    assert "not ready: diffuprompt-no-such-part" in capsys.readouterr().out


def test_doctor_survives_what_it_cannot_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("no such library")

    monkeypatch.setattr(doctor, "LOOKS", (broken,))
    assert main(["doctor"]) == 4


def test_doctor_looks_at_this_machine() -> None:
    findings = [f for look in doctor.LOOKS for f in doctor.attempt(look)]
    known = {finding.what: finding.state for finding in findings}
    for name in ("python", "torch", "device", "data sets"):
        assert known[name] in ("ok", "note")


def test_doctor_says_what_the_cache_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path))
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "a.safetensors").write_bytes(bytes(3 * 2**20))
    (tmp_path / "grids" / ".b.part").write_bytes(bytes(2**20))
    (finding,) = doctor.cache()
    assert finding.detail.startswith(f"3 MiB in {tmp_path}")


def test_train_hands_every_option_to_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[JobConfig] = []

    def train_or_find(config: JobConfig, progress: object) -> tuple[Path, bool]:
        asked.append(config)
        return Path("runs/made"), True

    monkeypatch.setattr("diffuprompt.jobs.train_or_find", train_or_find)
    words = ["--data", "scenes", "--learner", "cocoop", "--generator", "diffusion", "--shots", "4"]
    words += ["--set", "lr=0.1", "--set", "nfe=3", "--out", "there", "--text-memory-mib", "64"]
    assert main(["train", *words]) == 0
    expected = JobConfig(
        data="scenes",
        learner="cocoop",
        generator="diffusion",
        shots=4,
        overrides=("lr=0.1", "nfe=3"),
        out=Path("there"),
        text_memory_mib=64,
    )
    assert asked == [expected]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is required"),
        (["--data", "scenes", "--learner", "cocop"], "Did you mean 'cocoop'?"),
        (["--data", "scenes", "--set", "epoch=3"], "Did you mean 'epochs'?"),
    ],
)
def test_train_refuses_before_anything_loads(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_wrong_folder_of_unknown_pictures_is_refused_before_training(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", "nowhere", "--unknown", "there-neither", *more]) == 3
    assert "unknown: there-neither is no folder" in capsys.readouterr().err


def test_only_the_call_that_trains_calibrates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given again, a command must not change what a finished run answers."""
    fitted: list[Path] = []
    runs = iter([(Path("new"), True), (Path("old"), False)])
    monkeypatch.setattr("diffuprompt.jobs.train_or_find", lambda *_: next(runs))
    monkeypatch.setattr("diffuprompt.cli.calibrate.fit", lambda folder, *_: fitted.append(folder))
    monkeypatch.setattr("diffuprompt.cli.train.score", lambda *_: "")
    for _ in range(2):
        assert main(["train", "--data", "my-pictures"]) == 0
    assert fitted == [Path("new")]


def test_demo_prints_its_table_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_demo(out: Path, progress: object) -> tuple[Path, tuple[()]]:
        record(make_run(out / "runs" / "one"))
        return out / "runs", ()

    monkeypatch.setattr("diffuprompt.studies.run_demo", run_demo)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "CoCoOp + diffusion" in shown
    assert f"page: {tmp_path / 'report.html'}" in shown
    assert (tmp_path / "report.html").read_text().lower().startswith("<!doctype html>")
