"""One flipped bit, or one wrong value, in anything that a run leaves behind.

What can be computed again gives the same tensors; the rest is refused by the name of its file.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.world import command, small_job

from diffuprompt.errors import DiffupromptError
from diffuprompt.hub.classifier import Classifier
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.runs.store import WORK, StageFolder

pytestmark = pytest.mark.usefixtures("small_networks_here")
SMALL = ("views=2", "overfit.negatives=1", "overfit.batch=4", "overfit.steps=2")


def job(world: Path, place: Path, *, generator: str = "diffusion") -> JobConfig:
    asked = small_job(world, place / "runs", "cocoop", *SMALL)
    changed: dict[str, Any] = {"out": place / "runs" / "run"}
    if generator == "none":
        changed |= {"generator": "none", "overrides": ("train.epochs=2",)}
    return replace(asked, **changed)


@pytest.fixture
def finished(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``runs/run``, the stages beside it, and ``cache``."""
    place = tmp_path / "whole"
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(place / "cache"))
    monkeypatch.setattr("diffuprompt.runs.contents.FRESH_S", -1.0)
    train_job(job(world, place), save_every_s=0.0)
    return place


def flipped(data: bytes, share: float, bit: int) -> bytes:
    out = bytearray(data)
    out[min(int(share * len(data)), len(data) - 1)] ^= 1 << bit
    return bytes(out)


def trained_anew(asked: JobConfig) -> bytes:
    """Make the artifact again from the stages that are there; return its tensors' bytes."""
    assert asked.out is not None
    shutil.rmtree(asked.out / "artifact", ignore_errors=True)
    train_job(asked, save_every_s=0.0)
    return (asked.out / "artifact" / "prompts.safetensors").read_bytes()


def check_every_bit(
    place: Path, files: list[Path], work: Callable[[], object], flips: int
) -> dict[str, int]:
    """Flip bits of ``files`` one by one and do ``work``, which must give the same or name the file.

    Returns how often each kind of file was refused.
    """
    kept = shutil.copytree(place, place.parent / "kept")
    refused: dict[str, int] = {}
    rng, wrong, whole = random.Random(0), [], work()
    for file in files:
        data = (kept / file.relative_to(place)).read_bytes()
        for number in range(flips if file.suffix in (".safetensors", ".pt") else 1):
            shutil.rmtree(place)
            shutil.copytree(kept, place)
            share = 0.02 if number == 0 else rng.random()
            file.write_bytes(flipped(data, share, rng.randrange(7)))
            try:
                if work() != whole:
                    wrong.append((file.name, share))
            except DiffupromptError as error:
                refused[file.name] = refused.get(file.name, 0) + 1
                if file.name not in str(error):
                    wrong.append((file.name, str(error)))
    assert not wrong
    return refused


def test_one_flipped_bit_in_a_finished_run_is_seen(world: Path, finished: Path) -> None:
    asked = job(world, finished)
    kinds = ("cache/*/*.safetensors", "cache/*.*", "runs/.stages/*/*/[!.]*", "runs/run/*.json")
    found = [sorted(path for path in finished.glob(kind) if path.is_file()) for kind in kinds]
    files = [*found[0][:1], *found[1], *found[2], *found[3]]
    names = {path.name for path in files}
    assert {"done.json", "targets.safetensors", "run.json", "contents.sqlite"} < names
    refused = check_every_bit(finished, files, lambda: trained_anew(asked), 2)
    for name in ("learner.safetensors", "generator.safetensors"):  # V* is not read any more
        assert refused[name] == 2


def test_one_flipped_bit_in_the_tensors_of_an_artifact_is_seen(world: Path, finished: Path) -> None:
    folder = finished / "runs" / "run" / "artifact"
    pictures = sorted((world / "colours").rglob("*.png"))[:3]

    def work() -> list[list[float]]:
        return Classifier.from_pretrained(folder, device="cpu").predict(pictures).tolist()

    refused = check_every_bit(finished, [folder / "prompts.safetensors"], work, 8)
    assert refused["prompts.safetensors"] >= 6  # the rest hit what nobody reads, such as padding


@pytest.mark.parametrize("stage", ["learner", "overfit", "generator"])
def test_one_flipped_bit_in_what_a_run_resumes_from_is_seen(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    place = tmp_path / "cut"
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(place / "cache"))
    alone = "none" if stage == "learner" else "diffusion"
    asked, finish = job(world, place, generator=alone), StageFolder.finish

    def cut_off(folder: StageFolder, values: dict[str, float]) -> None:
        if folder.stage.name == stage:
            raise KeyboardInterrupt
        finish(folder, values)

    with monkeypatch.context() as patch:
        patch.setattr(StageFolder, "finish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train_job(asked, save_every_s=0.0)
    files = sorted(path for path in place.glob(f"runs/.stages/*/*/{WORK}/**/*") if path.is_file())
    assert files
    check_every_bit(place, files, lambda: trained_anew(asked), 1 if stage == "overfit" else 2)


WRONG: tuple[Any, ...] = (None, [], {}, "x", -1, 1e308, True, "deep", "\x1b[2J", 10**400, "..")


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value inside a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


def mutated(text: str, rng: random.Random) -> bytes:
    """Replace or remove a value of a JSON text, or cut it off, or make it no text at all."""
    chance = rng.random()
    if chance < 0.1:
        return text.encode()[: rng.randrange(len(text))]
    if chance < 0.2:
        return rng.choice((b"", b"[]", b"null", b"7", b"\xff\xfe{}", b"[" * 100_000, b"{" * 9))
    data = json.loads(text)
    *above, last = rng.choice(list(places(data)))
    target: Any = data
    for key in above:
        target = target[key]
    wrong = rng.choice((*WRONG, "gone"))
    if wrong == "gone":
        del target[last]
    elif wrong == "deep":
        target[last] = json.loads("[" * 90 + "]" * 90)
    else:
        target[last] = copy.deepcopy(wrong)
    return json.dumps(data).encode()


def shown(record: Path) -> dict[str, Any]:
    """Return of a record what is the same whenever a run is scored."""
    found: dict[str, Any] = json.loads(record.read_text())
    scores = [{k: v for k, v in score.items() if k != "timings"} for score in found["scores"]]
    return {"scores": scores, **{k: found[k] for k in ("job", "config", "hashes")}}


def test_anything_wrong_in_the_files_of_a_run_ends_in_an_error_that_names_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "whole"
    asked = small_job(world, place, "coop")
    run = place / "run"
    words = [
        *("train", "--data", asked.data, "--backbone", asked.backbone, "--learner", "coop"),
        *("--shots", "2", "--protocol", "base-to-new", "--device", "cpu", "--workers", "0"),
        *("--set", "train.epochs=2", "--out", run),
    ]
    assert command(*words).code == 0
    assert command("evaluate", run).code == 0
    right = shown(run / "record.json")
    kept = shutil.copytree(place, tmp_path / "kept")
    files = [path.relative_to(place) for path in sorted(place.glob("**/*.json"))]
    files = [path for path in files if path.parent.name != "artifact"]
    assert {path.name for path in files} >= {"run.json", "stages.json", "done.json", "score.json"}
    verbs: dict[str, list[object]] = {
        "evaluate": ["evaluate", run], "train": words, "ls": ["ls", "runs", "--runs-dir", place],
        "report": ["report", place],
    }  # fmt: skip
    rng, wrong = random.Random(0), []
    for _ in range(40):
        shutil.rmtree(place)
        shutil.copytree(kept, place)
        file = place / rng.choice(files)
        data = mutated(file.read_text(), rng)
        file.write_bytes(data)
        verb = rng.choice(["evaluate", "evaluate", "train", "ls", "report"])
        gone = {"evaluate": "record.json", "train": "artifact/artifact.json"}.get(verb)
        if gone and file != run / gone:
            (run / gone).unlink()
        done = command(*verbs[verb])
        said = (verb, file.name, data[:3000], done.code, done.err)
        if done.code not in (0, 1, 2, 3, 4) or "Traceback" in done.err:
            wrong.append(said)
        elif done.code and file.name not in done.err:
            wrong.append(said)
        elif verb == "evaluate" and not done.code and file.name != "record.json":
            if shown(run / "record.json") != right:
                wrong.append(said)
    assert not wrong, wrong[0]
