"""`show presets` and `cp presets`: what is written trains exactly what the preset trains."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from diffuprompt.cli.main import main
from diffuprompt.cli.parse import parse
from diffuprompt.cli.show import recipe
from diffuprompt.cli.train import Args, job
from diffuprompt.jobs.job import JobConfig, Resolved, resolve
from diffuprompt.learners.presets import Preset, all_presets


def resolved(config: JobConfig) -> Resolved:
    return resolve(
        config, dataset="scenes", backbone="some-clip", own_pictures=False, logit_scale=100.0
    )


@pytest.mark.parametrize("shots", [1, 16])
@pytest.mark.parametrize("preset", all_presets(), ids=lambda p: f"{p.learner}-{p.name}")
def test_a_written_recipe_resolves_to_the_presets_job(
    preset: Preset, shots: int, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    assert main(["cp", "presets", f"{preset.learner}/{preset.name}", str(path)]) == 0
    words = ["--data", "scenes", "--shots", str(shots)]
    copied = job(parse(Args, ["--config", str(path), *words], prog="train"))
    named = JobConfig(data="scenes", learner=preset.learner, preset=preset.name, shots=shots)
    assert resolved(copied).to_json() == resolved(named).to_json()


def test_an_edited_value_and_an_option_after_it_count(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert main(["cp", "presets", "promptsrc/base-to-new", str(path)]) == 0
    path.write_text(path.read_text().replace('"learner.depth" = 9', '"learner.depth" = 5'))
    words = ["--config", str(path), "--data", "scenes", "--set", "lr=0.1"]
    found = resolved(job(parse(Args, words, prog="train")))
    assert (found.options["depth"], found.train.lr, found.train.epochs) == (5, 0.1, 20)


def test_show_prints_values_source_command_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "presets", "promptsrc/base-to-new"]) == 0
    shown = capsys.readouterr().out
    assert "arXiv 2307.06948" in shown
    assert "base 84.26, new 76.10, H 79.97" in shown
    assert tomllib.loads(shown)["set"]["learner.text_l1"] == 25.0
    assert main(["show", "presets", "promptsrc/few-shot"]) == 0
    assert "16 shots 82.87" in capsys.readouterr().out


@pytest.mark.parametrize("preset", all_presets(), ids=lambda p: f"{p.learner}-{p.name}")
def test_the_shown_command_is_one_that_train_takes(preset: Preset) -> None:
    words = shlex.split(preset.command)
    assert words[:2] == ["diffuprompt", "train"]
    assert job(parse(Args, words[2:], prog="train")).preset == preset.name
    assert f"# command: {preset.command}\n" in recipe(preset)


def test_a_file_is_never_overwritten_and_has_a_name_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cp", "presets", "coop/lite"]) == 0
    assert "train --config coop-lite.toml" in capsys.readouterr().out
    before = Path("coop-lite.toml").read_text()
    assert main(["cp", "presets", "coop/lite"]) == 2
    assert "coop-lite.toml: exists already" in capsys.readouterr().err
    assert Path("coop-lite.toml").read_text() == before


@pytest.mark.parametrize("verb", ["show", "cp"])
def test_a_wrong_name_gets_the_near_miss(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "presets", "promptsrc/base-to-nwe"]) == 2
    assert "Did you mean 'promptsrc/base-to-new'?" in capsys.readouterr().err
