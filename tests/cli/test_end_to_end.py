"""The whole line through the command line, on a random CLIP and pictures of six colours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.world import CLASSES, Done, command, make_clip, make_pictures

from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.sources import open_dataset
from diffuprompt.hub.classifier import Classifier
from diffuprompt.record import Record, Score, Variant, read_record

RECIPE = ("epochs=3", "views=2", "train.batch=3", "overfit.batch=4", "fit.epochs=2")
CONTROLS = {"regression", "shuffled", "noise", "nearest", "mean", "oracle"}
METHODS = {
    "zero-shot": ("zero-shot", "none"),
    "coop": ("coop", "none"),
    "cocoop": ("cocoop", "none"),
    "diffusion": ("cocoop", "diffusion"),
}


def train(*words: object, method: str = "coop", data: object = "colours") -> Done:
    """Train with the relative paths that a user types in the world's folder."""
    learner, generator = METHODS[method]
    place = ("--data", data, "--backbone", "./clip", "--workers", "0", "--shots", "3")
    place += ("--no-evaluate",)  # which is tested with the other first steps
    how = ("--learner", learner, "--generator", generator)
    sets = [word for text in (*RECIPE, "fit.batch=4") for word in ("--set", text)]
    return command("train", *place, *how, *sets, *words)


def folder_of(done: Done) -> Path:
    assert done.code == 0, done.err
    found = re.search(r"^trained: (.*)$", done.out, re.M)
    assert found
    return Path(found[1]).resolve()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The world's folder, which is also the working directory."""
    folder = tmp_path_factory.mktemp("world")
    make_clip(folder / "clip")
    make_pictures(folder / "colours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUPROMPT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def runs(world: Path) -> dict[str, Path]:
    """One trained and evaluated base-to-new run per method; each trains for itself."""
    made = {}
    for method in METHODS:
        words = ("--protocol", "base-to-new", "--runs-dir", f"runs-{method}")
        made[method] = folder_of(train(*words, method=method))
        assert not (made[method] / "record.json").exists()  # only evaluation writes it
    (world / "elsewhere").mkdir()
    with pytest.MonkeyPatch.context() as patch:  # relative paths, from another working directory
        patch.chdir(world / "elsewhere")
        names = [f"../{folder.relative_to(world)}" for folder in made.values()]
        done = command("evaluate", *names)
    assert done.code == 0, done.err
    assert done.out.count("record: ") == len(METHODS)
    return made


@pytest.fixture(scope="module")
def records(runs: dict[str, Path]) -> dict[str, Record]:
    return {method: read_record(folder / "record.json") for method, folder in runs.items()}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_records_hold_every_score_and_agree_with_themselves(records: dict[str, Record]) -> None:
    for method, record in records.items():
        variants = {"own"} | ({"diffusion"} | CONTROLS if method == "diffusion" else set())
        assert {(s.variant.label, s.subset) for s in record.scores} == {
            (variant, subset) for variant in variants for subset in ("base", "new")
        }
        for score in record.scores:
            hits = score.hit_list()
            assert len(hits) == score.total > 0
            assert score.accuracy == pytest.approx(100 * sum(hits) / score.total)
        assert (record.job.dataset, record.job.backbone) == ("colours", "clip")
        assert (record.job.shots, record.job.seed) == (3, 1)
        assert set(record.seconds) >= {"evaluate"}
        named = {"manifest", "subset", "backbone", "preprocess", "spec"}
        assert set(record.hashes) == named | {"content_images", "content_backbone"}
        assert all(score.content for score in record.scores)
    assert records["zero-shot"].trainable_parameters == 0
    assert records["coop"].trainable_parameters == 4 * 32
    assert records["diffusion"].trainable_parameters > records["cocoop"].trainable_parameters
    assert set(records["diffusion"].seconds) == {"learner", "overfit", "diffusion", "evaluate"}
    statistics = records["diffusion"].statistics
    assert statistics["overfit_ce_after"] < statistics["overfit_ce_before"]


def quality(score: Score | None) -> dict[str, Any]:
    """All fields but the times, which differ from run to run."""
    assert score is not None
    return score.model_dump(exclude={"timings"})


def test_own_prompts_of_the_diffusion_run_are_the_learners(
    runs: dict[str, Path], records: dict[str, Record]
) -> None:
    for subset in ("base", "new"):
        own = records["diffusion"].score(Variant.own(), subset)
        assert own is not None
        assert quality(own) == quality(
            records["cocoop"].score(Variant.own(), subset)
        )  # bit for bit
        assert quality(own) != quality(records["coop"].score(Variant.own(), subset))
        generated = quality(records["diffusion"].score(Variant.generated("diffusion"), subset))
        assert quality(own) | {"variant": ""} != generated | {"variant": ""}


def stages(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "stages.json").read_text())
    return found


def test_a_trained_learner_is_shared_with_the_same_result(
    world: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage has the same key, so whoever made it first made it for both."""

    def train_again(*args: object) -> None:
        raise AssertionError("the learner is trained already")

    monkeypatch.setattr("diffuprompt.stages.learner._train", train_again)
    words = ("--protocol", "base-to-new", "--runs-dir", runs["cocoop"].parent)
    borrowed = folder_of(train(*words, method="diffusion"))
    learner = stages(borrowed)["learner"]
    assert learner == stages(runs["cocoop"])["learner"]  # its seconds too
    assert (borrowed / learner["folder"] / "done.json").is_file()
    assert learner["key"] == stages(runs["diffusion"])["learner"]["key"]  # and on its own
    for name in ("prompts.safetensors", "artifact.json"):
        same = (runs["diffusion"] / "artifact" / name).read_bytes()
        assert (borrowed / "artifact" / name).read_bytes() == same


def test_a_finished_run_is_left_alone_and_says_so(runs: dict[str, Path]) -> None:
    run = runs["diffusion"]
    before = snapshot(run)
    again = train("--protocol", "base-to-new", "--runs-dir", run.parent, method="diffusion")
    assert folder_of(again) == run
    assert "is trained already; nothing to do" in again.err
    done = command("evaluate", run)
    assert done.code == 0
    assert "is evaluated already" in done.err
    assert "CoCoOp + diffusion" in done.out
    assert snapshot(run) == before


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value; packed hits are base64, which may start with a slash."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (text for item in value for text in texts(item))
    elif isinstance(value, dict):
        yield from (text for k, item in value.items() if k != "hits" for text in texts(item))


def test_nothing_that_is_shared_holds_a_path_of_this_machine(
    world: Path, runs: dict[str, Path]
) -> None:
    for run in runs.values():
        for path in (run / "record.json", *(run / "artifact").iterdir()):
            assert str(world) not in path.read_text(errors="replace")
        for path in (run / "record.json", run / "artifact" / "artifact.json"):
            paths = [text for text in texts(json.loads(path.read_text())) if text[:1] in "/~."]
            assert not [text for text in paths if text]
        assert json.loads((run / "artifact" / "artifact.json").read_text())["backbone"] == "clip"


def test_a_folder_of_another_run_is_refused_by_name(world: Path, runs: dict[str, Path]) -> None:
    before = snapshot(runs["coop"])
    words = ("--protocol", "base-to-new", "--out", runs["coop"])
    done = train(*words, "--set", "lr=0.5")
    assert done.code == 2
    assert "train.lr is 0.02 there, 0.5 was asked" in done.err
    done = train(*words, "--seed", "2", method="cocoop")
    assert "learner is 'coop' there, 'cocoop' was asked" in done.err
    assert "seed is 1 there, 2 was asked" in done.err
    assert snapshot(runs["coop"]) == before


def test_other_pictures_are_another_run(world: Path, tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "colours")
    run = folder_of(train("--out", tmp_path / "run", data=data))
    chosen = few_shot(open_dataset(data), 3, 1).splits["train"]
    (data / chosen[0].path).unlink()
    done = train("--out", run, data=data)
    assert done.code == 2
    assert "the content of images is '" in done.err
    done = command("evaluate", run)  # it may have been trained on what would be test images now
    assert done.code == 2
    assert "the content of images is '" in done.err
    assert not (run / "record.json").exists()


def test_fewer_test_pictures_are_the_same_run(world: Path, tmp_path: Path) -> None:
    """What a run is are the pictures that it trains on; which ones it is tested on is said anew."""
    data = make_pictures(tmp_path / "colours")
    run = folder_of(train("--out", tmp_path / "run", data=data))
    assert command("evaluate", run).code == 0
    before = read_record(run / "record.json")
    (data / open_dataset(data).splits["test"][0].path).unlink()
    assert "is trained already" in train("--out", run, data=data).err
    done = command("evaluate", run)
    assert done.code == 0, done.err
    after = read_record(run / "record.json")
    assert [s.total for s in after.scores] == [s.total - 1 for s in before.scores]


def test_a_csv_and_its_root_are_found_from_another_folder(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((world / "colours").rglob("*.png"))
    rows = [f"{path.relative_to(world / 'colours')},{path.parent.name}" for path in paths]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(world / "colours", tmp_path / "pictures")
    words = ("--data-root", "pictures", "--backbone", world / "clip", "--out", "run")
    run = folder_of(train(*words, data="list.csv"))
    (tmp_path / "far" / "away").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "far" / "away")
    done = command("evaluate", "../../run")
    assert done.code == 0, done.err
    assert read_record(run / "record.json").job.dataset == "list"


def test_evaluation_waits_for_training(world: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["coop"], tmp_path / "run")
    (tmp_path / "run" / "record.json").unlink()
    (tmp_path / "run" / "artifact" / "artifact.json").unlink()
    done = command("evaluate", tmp_path / "run")
    assert done.code == 3
    assert "not trained to the end" in done.err
    (tmp_path / "run" / "run.json").write_text('{"schema": "diffuprompt.run/1", "job": {}}')
    done = command("evaluate", tmp_path / "run")
    assert done.code == 3
    assert "run.json: damaged" in done.err


def test_without_controls_only_the_claim_is_scored(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["diffusion"], tmp_path / "run")
    whole = read_record(tmp_path / "run" / "record.json")
    (tmp_path / "run" / "record.json").unlink()
    assert command("evaluate", tmp_path / "run", "--controls", "none").code == 0
    record = read_record(tmp_path / "run" / "record.json")
    expected = [s for s in whole.scores if s.variant.prompts != "control"]
    assert [quality(s) for s in record.scores] == [quality(s) for s in expected]


def test_an_evaluation_that_asks_for_more_only_adds_to_the_record(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs["diffusion"], tmp_path / "run")
    file = tmp_path / "run" / "record.json"
    before = read_record(file)
    words = ("evaluate", tmp_path / "run", "--controls", "basic", "--nfe", 1, 5, "--samples", 3)
    assert command(*words).code == 0
    after = read_record(file)
    one, five = (Variant.generated("diffusion", nfe=n) for n in (1, 5))
    mean = Variant.generated("diffusion", draws=3)
    added = {one, five, mean}
    assert {s.variant for s in after.scores} == {s.variant for s in before.scores} | added
    for old in before.scores:
        assert after.score(old.variant, old.subset) == old
    main = after.score(Variant.generated("diffusion"), "base")
    same, pooled = after.score(five, "base"), after.score(mean, "base")
    assert main is not None
    assert same is not None
    assert same.hits == main.hits  # as many evaluations as configured
    assert pooled is not None
    assert pooled.metrics["nll"] != main.metrics["nll"]
    assert "aurc" in pooled.metrics
    assert same.timings.keys() == {"generate_ms", "classify_ms"}
    assert all(same.timings.values())
    assert "evaluated already" in command(*words).err


def test_workers_change_no_result(
    world: Path, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))
    words = ("--protocol", "base-to-new", "--runs-dir", tmp_path, "--workers", "3")
    other = folder_of(train(*words, method="cocoop")) / "artifact" / "prompts.safetensors"
    own = runs["cocoop"] / "artifact" / "prompts.safetensors"
    assert other.read_bytes() == own.read_bytes()


def test_the_recorded_command_trains_the_same_run(
    world: Path, runs: dict[str, Path], records: dict[str, Record], tmp_path: Path
) -> None:
    words = shlex.split(records["diffusion"].command)[1:]
    assert "--data colours" in records["diffusion"].command
    words[words.index("clip")] = "./clip"
    assert folder_of(command(*words, "--runs-dir", tmp_path)).name == runs["diffusion"].name


def test_a_dry_run_shows_the_job_and_leaves_nothing(world: Path, tmp_path: Path) -> None:
    done = train("--dry-run", "--runs-dir", tmp_path / "dry")
    assert done.code == 0
    rows = dict(line.split(" = ", 1) for line in done.out.splitlines())
    rows = {key.strip(): value for key, value in rows.items()}
    assert (rows["protocol"], rows["preset"]) == ("few-shot", "lite")
    assert (rows["train.epochs"], rows["training images"]) == ("3", "14")
    assert not (tmp_path / "dry").exists()


def test_report_makes_a_page_of_all_runs(runs: dict[str, Path], tmp_path: Path) -> None:
    done = command("report", *runs.values(), "--out", tmp_path / "page")
    assert done.code == 0, done.err
    for page in ("report.md", "report.html"):
        text = (tmp_path / "page" / page).read_text()
        for name in ("Zero-shot CLIP", "CoOp", "CoCoOp + diffusion", "Base", "New"):
            assert name in text
        assert str(tmp_path.parent) not in text


@pytest.mark.parametrize("method", METHODS)
def test_predict_agrees_with_the_classifier(
    world: Path, runs: dict[str, Path], method: str
) -> None:
    images = [world / "colours" / name / "5.png" for name in ("red", "white", "black")]
    done = command("predict", *images, "--artifact", runs[method], "--json", "--top", "9")
    assert done.code == 0, done.err
    classifier = Classifier.from_pretrained(runs[method], device="cpu")
    assert classifier.classes == CLASSES[:3]
    expected = classifier.predict(images)
    for row, probabilities in zip(json.loads(done.out), expected, strict=True):
        best = {p["class"]: p["probability"] for p in row["predictions"]}
        assert list(best.values()) == sorted(best.values(), reverse=True)
        shown = torch.tensor([best[name] for name in classifier.classes])
        assert torch.equal(shown, probabilities)


def test_predict_names_other_classes(world: Path, runs: dict[str, Path]) -> None:
    words = ("predict", world / "colours" / "red", "--artifact", runs["diffusion"])
    done = command(*words, "--classes", "snow leopard,lynx", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert len(rows) == 6
    for row in rows:
        assert {p["class"] for p in row["predictions"]} == {"snow leopard", "lynx"}
        assert sum(p["probability"] for p in row["predictions"]) == pytest.approx(1, abs=1e-5)
    done = command(*words, "--classes", "Snow_leopard,snow leopard")
    assert done.code == 2
    assert "Snow_leopard" in done.err


def test_a_backbone_that_moved_is_asked_for(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world / "clip", tmp_path / "models" / "my-clip")
    words = ("--backbone", tmp_path / "models" / "my-clip", "--out", tmp_path / "run")
    run = folder_of(train(*words))
    image = world / "colours" / "red" / "0.png"
    assert command("predict", image, "--artifact", run).code == 0
    shutil.copytree(run / "artifact", tmp_path / "sent")  # without the run, only the name is known
    (tmp_path / "models").rename(tmp_path / "moved")
    for folder in (run, run / "artifact", tmp_path / "sent"):
        monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / f"of {folder.name}"))  # remembers
        done = command("predict", image, "--artifact", folder)
        assert done.code == 4
        assert "'my-clip'" in done.err
        assert "--backbone" in done.err
        words = ("--artifact", folder, "--backbone", tmp_path / "moved" / "my-clip")
        assert command("predict", image, *words).code == 0
        assert command("predict", image, *words[:2]).code == 0  # it is remembered
    other = make_clip(tmp_path / "other", seed=1)
    done = command("predict", image, "--artifact", run, "--backbone", other)
    assert done.code == 4
    assert "name the right backbone with --backbone" in done.err


def damaged(data: Path, split: str) -> None:
    path = data / split / "red" / "3.png"
    path.write_bytes(path.read_bytes()[:100])


def missing_class(data: Path) -> None:
    shutil.rmtree(data / "test" / "red")


def one_class(data: Path) -> None:
    for name in CLASSES[1:]:
        for split in ("train", "test"):
            shutil.rmtree(data / split / name)


def same_names(data: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(data / split / "blue_sky", data / split / "Blue Sky")


def not_an_image(data: Path) -> None:
    (data / "test" / "white" / "0.png").write_text("hello")


@pytest.mark.parametrize("method", ["zero-shot", "coop", "diffusion"])
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda data: damaged(data, "train"), ("train/red/3.png", "damaged image")),
        (lambda data: damaged(data, "test"), ("test/red/3.png", "damaged image")),
        (not_an_image, ("test/white/0.png", "not an image")),
        (missing_class, ("class 'red' has no image in test",)),
        (one_class, ("at least two classes", "['black']")),
        (same_names, ("'Blue Sky', 'blue_sky'", "the same prompt text")),
    ],
    ids=["damaged train", "damaged test", "no image", "missing class", "one class", "same names"],
)
def test_bad_data_stops_before_training(
    world: Path, tmp_path: Path, method: str, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    data = make_pictures(tmp_path / "data", splits=("train", "test"))
    spoil(data)
    done = train("--out", tmp_path / "run", "--shots", "6", method=method, data=data)
    assert done.code == 3
    for part in parts:
        assert part in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


def test_corrected_data_may_use_the_same_folder(world: Path, tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "data", splits=("train", "test"))
    damaged(data, "train")
    words = ("--out", tmp_path / "run", "--shots", "6")
    assert train(*words, data=data).code == 3
    (data / "train" / "red" / "3.png").unlink()
    assert train(*words, data=data).code == 0


def test_a_wrong_sampler_leaves_no_folder_behind(world: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "run")
    done = train(*words, "--set", "sampler=dpmpp_2n", method="diffusion")
    assert done.code == 2
    assert "dpmpp_2m" in done.err
    assert not (tmp_path / "run").exists()


def test_predict_names_the_picture_that_it_cannot_read(
    world: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"GIF89a")
    done = command("predict", tmp_path, "--artifact", runs["coop"])
    assert done.code == 3
    assert "bad.png" in done.err
    assert "good.png" not in done.err
