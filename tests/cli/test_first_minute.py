"""What a newcomer types first: train, evaluate and predict on own pictures with no other option."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.world import CLASSES, Done, command, make_clip, make_pictures

from diffuprompt.checkpoints import automatic, load as door
from diffuprompt.cli.doctor import automatic_backbone
from diffuprompt.cli.held_out import held_out
from diffuprompt.data.catalog import SCENE_STYLES
from diffuprompt.jobs.baseline import zero_shot_hits
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare
from diffuprompt.jobs.sources import Sources
from diffuprompt.record import read_record

QUICK = ("--set", "epochs=3", "--set", "views=3", "--workers", "0")
PREDICT = ("predict", "colours/red/0.png")


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with ``colours``; the only backbone for them is ``models/photo``."""
    folder = tmp_path_factory.mktemp("first")
    make_pictures(folder / "colours")
    make_clip(folder / "models" / "photo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "CHECKOUT", Path("nowhere"))
        patch.setattr(automatic, "has_hub", lambda: False)
        patch.delenv("DIFFUPROMPT_DATA", raising=False)
        patch.setenv("DIFFUPROMPT_MODELS", str(folder / "models"))
        patch.setenv("DIFFUPROMPT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


def train(*words: object) -> Done:
    return command("train", "--data", "colours", *QUICK, *words)


def folder_of(done: Done) -> Path:
    assert done.code == 0, done.err
    found = re.search(r"^trained: (.*)$", done.out, re.M)
    assert found
    return Path(found[1])


@pytest.fixture(scope="module")
def first() -> Done:
    """``train`` with no backbone named."""
    return train()


def test_training_ends_with_the_accuracy_and_the_next_command(first: Done) -> None:
    folder = folder_of(first)
    (score,) = read_record(folder / "record.json").scores
    line = r"^CoOp: ([\d.]+) % right of (\d+) held-out pictures \(95 % interval"
    found = re.search(line, first.out, re.M)
    assert found
    assert float(found[1]) == pytest.approx(score.accuracy, abs=0.05)  # one decimal
    assert int(found[2]) == score.total > 0
    low, high = map(float, re.findall(r"interval ([\d.]+) to ([\d.]+)", first.out)[0])
    assert 0 <= low < score.accuracy < high <= 100 or score.accuracy in (low, high)
    assert f"next:    diffuprompt predict IMAGE --artifact {folder}\n" in first.out
    words = first.out.partition("next: ")[2].split("\n")[0].replace("IMAGE", PREDICT[1]).split()
    assert command(*words[1:]).code == 0


def test_it_says_what_the_backbone_does_without_training(first: Done) -> None:
    """The same number as a whole zero-shot run on the same pictures."""
    done = train("--learner", "zero-shot")
    (score,) = read_record(folder_of(done) / "record.json").scores
    assert sum(score.hit_list()) == sum(zero_shot_hits(folder_of(first)))
    line = f"{score.accuracy:.1f} % right of {score.total} held-out pictures (95 % interval"
    assert f"before training (zero-shot): {line}" in first.out
    assert f"Zero-shot CLIP: {line}" in done.out
    assert "before training" not in done.out


@pytest.mark.parametrize(("right", "total"), [(0, 1), (5, 36), (35, 36), (36, 36), (29, 60)])
def test_the_interval_is_wilsons(right: int, total: int) -> None:
    """Its ends are where the normal test of the proportion is at its 5 % point (Wilson 1927)."""
    hits = [i < right for i in range(total)]
    shown = held_out(SimpleNamespace(scores=()), hits)  # type: ignore[arg-type]
    found = re.search(r": ([\d.]+) % right of (\d+) .* ([\d.]+) to ([\d.]+)\)", shown)
    assert found
    p, n, low, high = map(float, found.groups())
    assert (p, n) == (pytest.approx(100 * right / total, abs=0.05), total)
    for end in (low / 100, high / 100):
        if 0 < end < 1:
            z = abs(right / total - end) / sqrt(end * (1 - end) / total)
            assert z == pytest.approx(1.96, abs=0.05)  # ends are shown to a tenth of a per cent
    assert ("few pictures" in shown) == (total < 30)


def test_evaluating_afterwards_scores_nothing_twice(first: Done) -> None:
    record = folder_of(first) / "record.json"
    before = record.read_bytes()
    done = command("evaluate", folder_of(first))
    assert "is evaluated already" in done.err
    assert record.read_bytes() == before


def test_progress_is_one_line_a_stage(first: Done) -> None:
    stages = [line.partition(":")[0] for line in first.err.splitlines() if ", took " in line]
    expected = ["image features", "image features, 3 views", "training CoOp", "scoring own"]
    assert [s.split(" (")[0].lower() for s in stages] == [e.lower() for e in expected]


@pytest.mark.parametrize("recipe", [("views=0", "epochs=3"), ("views=3", "epochs=1")])
def test_however_many_views_there_are(recipe: tuple[str, str]) -> None:
    words = [word for value in recipe for word in ("--set", value)]
    done = command(
        "train", "--data", "colours", *words, "--workers", 0, "--no-evaluate", "--shots", 1
    )
    lines = [line for line in done.err.splitlines() if ", took " in line]
    assert sum(line.startswith("image features") for line in lines) <= 2
    assert not (folder_of(done) / "record.json").exists()


def test_the_backbone_is_said_and_kept(first: Done, world: Path) -> None:
    said = [line for line in first.err.splitlines() if line.startswith("backbone: ")]
    assert said == [f"backbone: photo (in {world / 'models'}; another: --backbone NAME|DIR)"]
    folder = folder_of(first)
    run = json.loads((folder / "run.json").read_text())
    assert run["resolved"]["backbone"] == run["job"]["backbone"] == "photo"
    assert folder.name.startswith("colours-photo-coop-")
    assert "--backbone photo " in read_record(folder / "record.json").command
    named = prepare(JobConfig(data="colours", backbone="photo", overrides=("epochs=3", "views=3")))
    assert named.run_name == folder.name


def test_a_run_keeps_its_backbone_whatever_comes_later(
    world: Path,
) -> None:
    folder = folder_of(train("--out", "kept", "--no-evaluate"))
    make_clip(world / "models" / "a-first", seed=1)  # equally large: the first by name
    try:
        assert prepare(JobConfig(data="colours")).resolved.backbone == "a-first"
        done = train("--out", "kept")
        assert folder_of(done) == folder
        assert "is trained already" in done.err
        assert command("evaluate", "kept").code == 0
        assert read_record(folder / "record.json").job.backbone == "photo"
        other = train("--out", "kept", "--backbone", "a-first")
        assert "backbone is 'photo' there, 'a-first' was asked" in other.err
    finally:
        shutil.rmtree(world / "models" / "a-first")


@pytest.mark.parametrize("data", SCENE_STYLES)
def test_the_scenes_keep_their_backbone(data: str) -> None:
    assert Sources().settled(JobConfig(data=data)).backbone == "scenes-clip"


@pytest.mark.parametrize("name", ["scenes-clip", str(door.ASSETS / "scenes-clip"), "copied"])
def test_the_scenes_own_is_warned_about_where_it_is_named(world: Path, name: str) -> None:
    if name == "copied":
        shutil.copytree(door.ASSETS / "scenes-clip", world / name)
    done = train("--backbone", name, "--dry-run")
    assert done.code == 0
    assert "knows only the drawn scenes world; on photographs it is near chance" in done.err


@pytest.mark.parametrize("words", [("train", "--data", "colours"), (*PREDICT, "--classes", "a,b")])
def test_with_no_backbone_at_all_the_next_command_is_said(
    world: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(world / "nothing"))
    done = command(*words, "--runs-dir", "nowhere")
    assert done.code == 4
    assert "next: pip install huggingface_hub" in done.err
    assert str(world / "nothing") in done.err
    assert not (world / "nowhere").exists()


@pytest.mark.parametrize("data", ["colours", "nothing-there"])
def test_wrong_data_are_told_before_a_backbone_is_looked_for(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "_photographs", None)
    if data == "colours":
        data = "colours/red"  # a folder without classes
    assert command("train", "--data", data).code == 3


def test_predicting_needs_no_run(world: Path) -> None:
    words = (*PREDICT, "--classes", ",".join(CLASSES), "--runs-dir", "nowhere")
    done = command(*words, "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    assert {p["class"] for p in row["predictions"]} < set(CLASSES)
    assert 'zero-shot with photo, "a photo of a NAME."' in done.err
    assert command(*words, "--json", "--backbone", world / "models" / "photo").out == done.out


def test_zero_shot_can_be_asked_for_beside_runs(first: Done) -> None:
    words = (*PREDICT, "--classes", "red,white")
    assert "using the newest finished run" in command(*words).err
    done = command(*words, "--zero-shot")
    assert "zero-shot with photo" in done.err
    assert "newest" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--runs-dir", "nowhere"), 3, r"--classes cat,dog,horse.*diffuprompt train"),
        (("--zero-shot",), 2, "--classes"),
        (("--zero-shot", "--classes", "a,b", "--artifact", "kept"), 2, "--artifact"),
        (("--zero-shot", "--classes", "a,b", "--samples", "4"), 2, "--samples"),
        (("--zero-shot", "--classes", "a,A"), 2, "same prompt text"),
        (("--zero-shot", "--classes", "a,,b"), 2, "is empty"),
    ],
)
def test_what_zero_shot_cannot_be_is_said_at_once(
    words: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffuprompt.hub.Classifier", None)
    done = command(*PREDICT, *words)
    assert done.code == code
    assert re.search(message, done.err)
    assert "checking images" not in done.err


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "names", [["tench, Tinca tinca", "goldfish"], ["a", "b", "c, d"], ["one, two"]]
)
def test_names_of_a_file_keep_their_commas(world: Path, names: list[str], mark: str) -> None:
    (world / "names.txt").write_text(mark + "\n\n".join(names) + "\n", encoding="utf-8")
    done = command(*PREDICT, "--zero-shot", "--classes", "@names.txt", "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    assert sorted(p["class"] for p in row["predictions"]) == sorted(names)


@pytest.mark.parametrize("text", ["missile\nmissile", "a b\nA_b", "x\n\u200bx", "", "\n \n"])
@pytest.mark.parametrize("how", [("--zero-shot",), ()])
def test_a_file_of_names_that_are_not_names_is_refused(
    world: Path, first: Done, text: str, how: tuple[str, ...]
) -> None:
    (world / "names.txt").write_text(text, encoding="utf-8")
    done = command(*PREDICT, *how, "--classes", "@names.txt")
    assert done.code == 2
    assert "names.txt" in done.err
    assert not done.out


def test_a_run_on_scenes_says_what_it_knows(world: Path, first: Done) -> None:
    made = folder_of(train("--backbone", "scenes-clip", "--out", "drawn/one", "--shots", "1"))
    done = command(*PREDICT, "--runs-dir", made.parent)
    assert done.code == 0
    assert "scenes-clip knows only drawn scenes" in done.err
    assert "scenes-clip" not in command(*PREDICT, "--artifact", folder_of(first)).err


def test_doctor_says_what_auto_means(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = automatic_backbone()
    assert finding.state == "ok"
    assert f"photo for photographs, in {world / 'models'}; looked in" in finding.detail
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(world / "nothing"))
    (finding,) = automatic_backbone()
    assert finding.state == "note"
    assert "pip install huggingface_hub" in finding.detail
    assert f"{world / 'nothing'} (no such folder)" in finding.detail
