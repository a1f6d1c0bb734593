"""The scripts in examples/ run as their first lines say, and show what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "examples"


def run(script: str, folder: Path, *words: str) -> str:
    """Run one example as a user does, in a folder and with a home of its own."""
    home = folder / "home"
    home.mkdir()
    ours = {"PYTHONPATH": str(CHECKOUT / "src"), "HOME": str(home), "OMP_NUM_THREADS": "1"}
    names = ("DIFFUPROMPT_CACHE", "DIFFUPROMPT_CACHE_GIB", "DIFFUPROMPT_DATA", "XDG_CACHE_HOME")
    rest = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *words],
        cwd=folder,
        env=rest | ours,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir() if path.name != "out"] == ["home"]
    assert not list(home.iterdir()), "an example wrote outside the folder that it was given"
    return done.stdout


def test_train_and_predict(tmp_path: Path) -> None:
    out = run("train_and_predict.py", tmp_path, "--out", "out")
    accuracy = re.search(r"accuracy on (\d+) test pictures: ([\d.]+) %", out)
    assert accuracy is not None, out
    assert int(accuracy[1]) > 0
    assert float(accuracy[2]) > 50, "six classes"
    assert re.search(r"one of 6 names: red star \(0\.\d\d\)", out), out
    assert re.search(r"one of 3 names: star \(0\.\d\d\)", out), out
    assert len(list((tmp_path / "out" / "runs").glob("pictures-*/record.json"))) == 1


def test_look_at_prompts(tmp_path: Path) -> None:
    out = run("look_at_prompts.py", tmp_path, "--out", "out")
    assert len(re.findall(r"^  (own|generated|shuffled)[^:]*: logit [+-]", out, re.MULTILINE)) == 6
    assert len(re.findall(r"^    v1: \w+ \([+-]\d\.\d\d, \d+\.\d\d\)", out, re.MULTILINE)) == 6
    assert (tmp_path / "out" / "views.png").is_file()


def test_write_a_learner(tmp_path: Path) -> None:
    out = run("write_a_learner.py", tmp_path, "--out", "out")
    found = re.findall(r"penalty (0\.0|1\.0): accuracy ([\d.]+) %, nll ([\d.]+)", out)
    assert [penalty for penalty, _, _ in found] == ["0.0", "1.0"], out
    assert float(found[1][2]) > float(found[0][2]), "the penalty makes answers unsure"


def test_samplers_alone(tmp_path: Path) -> None:
    head, *rows = run("samplers_alone.py", tmp_path).splitlines()
    assert head.split()[1:] == ["3", "5", "10", "20"]
    errors = {name: [float(x) for x in row] for name, *row in map(str.split, rows)}
    assert all(row[-1] < row[0] for row in errors.values()), "more evaluations are nearer"
    assert min(errors, key=lambda name: errors[name][-1]) != "euler"


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_it_says_how_to_run_it(script: str) -> None:
    text = (EXAMPLES / script).read_text(encoding="utf-8")
    runs = f"python examples/{script}" in text.split('"""')[1]
    assert runs == ("__main__" in text)
