"""`choose` on the tiny world: no test picture, the same answer after an interruption, errors."""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.world import command

from diffuprompt.choosing import Question, choose
from diffuprompt.data import open_dataset
from diffuprompt.errors import ConfigError

CHEAP = ("zero-shot", "tip-adapter", "tip-adapter-f")


def question(world: Path, runs: Path, **values: Any) -> Question:
    places = {"data": str(world / "colours"), "backbone": str(world / "clip"), "runs_dir": runs}
    small = {"workers": 0, "device": "cpu", "learners": CHEAP, "generators": ("none",), "folds": 2}
    return Question(**{**places, **small, **values})


def without_test_pictures(world: Path, folder: Path) -> Path:
    """Write a CSV of the colours whose test pictures are not there."""
    manifest = open_dataset(str(world / "colours"))
    file = folder / "pictures.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "label", "split"])
        for split, items in manifest.splits.items():
            for item in items:
                path = manifest.root / item.path
                if split == "test":
                    path = folder / "gone" / item.path
                rows.writerow([path, manifest.classes[item.label], split])
    return file


class Interrupting:
    """Stops like Ctrl-C when work of this label begins."""

    def __init__(self, label: str) -> None:
        self.label = label

    @contextmanager
    def task(self, label: str, *, total: int):  # type: ignore[no-untyped-def]
        if label.startswith(self.label):
            raise KeyboardInterrupt
        yield self

    def advance(self, n: int = 1, **stats: float) -> None:
        return None


def facts(choice: Any) -> list[tuple[Any, ...]]:
    return [(r.learner, r.accuracy, r.pictures, r.state) for r in choice.rows]


def test_test_pictures_need_not_exist_and_an_interrupted_call_goes_on(
    world: Path, tmp_path: Path
) -> None:
    data = without_test_pictures(world, tmp_path)
    asked = {"data": str(data), "allow_outside": True}
    with pytest.raises(KeyboardInterrupt):
        choose(question(world, tmp_path / "runs", **asked), Interrupting("training tip-adapter-f"))
    done = sorted((tmp_path / "runs").rglob("done.json"))
    assert done, "what came before it is kept"
    before = {path: path.stat().st_mtime_ns for path in done}
    found = choose(question(world, tmp_path / "runs", **asked))
    assert {path: path.stat().st_mtime_ns for path in done} == before
    whole = choose(question(world, tmp_path / "other", **asked))
    assert sorted(facts(found)) == sorted(facts(whole))
    assert found.complete
    assert {row.learner for row in found.rows} == set(CHEAP)
    train = open_dataset(str(world / "colours")).splits["train"]
    sizes = Counter(item.label for item in train)
    assert found.pictures == len(train)
    assert found.rows[0].pictures == sum(sizes[item.label] > 1 for item in train)


def test_the_command_says_what_to_train_and_trains_it(world: Path, tmp_path: Path) -> None:
    words = ["choose", "--data", world / "colours", "--backbone", world / "clip", "--workers", 0]
    words += ["--device", "cpu", "--folds", 2, "--runs-dir", tmp_path, "--generators", "none"]
    shown = command(*words, "--learners", *CHEAP[:2])
    assert shown.code == 0, shown.err
    assert "no test picture was touched" in shown.out
    assert "train it: diffuprompt train --data" in shown.out
    found = command(*words, "--learners", "zero-shot", "--train", "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)  # what training says is not in it
    assert told["complete"]
    assert shlex.split(told["command"])[:2] == ["diffuprompt", "train"]
    assert told["winner"]["learner"] == "zero-shot"
    assert "trained: " in found.err
    assert list(tmp_path.glob("*/artifact/artifact.json"))


def test_generators_join_the_learners_that_come_through(world: Path, tmp_path: Path) -> None:
    from diffuprompt.choosing.question import Candidate
    from diffuprompt.choosing.trials import Trials
    from diffuprompt.engine import NULL

    asked = question(world, tmp_path, learners=("zero-shot", "coop"), generators=())
    trials = Trials(asked, NULL, lambda: 0.0)
    first = trials.first()
    assert [c.title for c in first] == ["zero-shot", "coop"]
    assert [c.title for c in trials.partners(first)] == ["coop+diffusion"]
    assert trials.partners([Candidate(learner="zero-shot")]) == []


def test_wrong_questions_are_refused_by_name(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="minutes: got 0"):
        question(world, tmp_path, minutes=0)
    with pytest.raises(ConfigError, match=r"learners: expected some of .*'cop'.*coop"):
        question(world, tmp_path, learners=("cop",))
    with pytest.raises(ConfigError, match="generators: expected some of"):
        question(world, tmp_path, generators=("diffusoin",))
    with pytest.raises(ConfigError, match=r"(?s)nothing was finished.*zero-shot: out of time"):
        choose(question(world, tmp_path, minutes=1e-9, learners=("zero-shot",)))
    found = command("choose", "--data", world / "colours", "--minutes", 0)
    assert (found.code, "--minutes: got" in found.err) == (2, True)
