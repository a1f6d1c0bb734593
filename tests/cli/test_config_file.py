"""TOML defaults: below the command line, above the built-in ones, all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.cli.config_file import read_config
from diffuprompt.cli.parse import parse
from diffuprompt.cli.train import Args
from diffuprompt.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'data = "mine"\nshots = 4\nseed = 7\nruns-dir = "elsewhere"\n')
    args = parse(Args, ["--config", str(path), "--seed", "3"], prog="train")
    assert (args.data, args.shots, args.seed) == ("mine", 4, 3)
    assert args.runs_dir == Path("elsewhere")
    assert args.learner == "coop"


def test_an_explicit_default_still_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "shots = 4\n")
    assert parse(Args, ["--shots", "16", "--config", str(path)], prog="train").shots == 16


@pytest.mark.parametrize(
    "text", ['set = ["lr=0.1", "csc=true"]\n', "[set]\nlr = 0.1\ncsc = true\n"]
)
def test_overrides_are_a_list_or_a_table_and_the_command_line_comes_last(
    text: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    args = parse(Args, ["--config", str(path), "--set", "lr=0.2"], prog="train")
    assert args.set == ("lr=0.1", "csc=true", "lr=0.2")


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, 'lerner = "coop"\nshots = "many"\nprotocol = "fewshot"\n')
    with pytest.raises(ConfigError) as caught:
        read_config(path, Args)
    message = str(caught.value)
    assert str(path) in message
    assert "unknown key 'lerner'. Did you mean 'learner'?" in message
    assert "shots" in message
    assert "'few-shot'" in message


@pytest.mark.parametrize("key", ["config", "dry-run"])
def test_keys_for_the_command_line_only_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
        read_config(write(tmp_path, f"{key} = true\n"), Args)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        read_config(tmp_path / "absent.toml", Args)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(write(tmp_path, "shots = = 4"), Args)
