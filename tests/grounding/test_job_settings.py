"""What can be asked of a grounding job, and what is refused before anything is read."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.grounding.tiny_jobs import SETS, tiny_job

from diffuprompt.cli import ground_train
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.methods.training import MethodFit
from diffuprompt.jobs.grounding.folder import GroundingFolder, GroundingRun, read_grounding_run
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.recipes import RECIPES, find_recipe
from diffuprompt.jobs.grounding.settings import KEPT_OF_PAPER, SMALL, Settings, settings_of

DIFF_PROMPT = find_recipe("diff-prompt")


def settings(method: str = "diff-prompt", preset: str = "default", *sets: str) -> Settings:
    return settings_of(find_recipe(method), preset, sets)


def run_of(job: GroundingJobConfig) -> GroundingRun:
    return GroundingRun(
        job=job, settings=settings_of(find_recipe(job.method), job.preset, job.overrides)
    )


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
@pytest.mark.parametrize("method", ["diff-prompt", "paper", "released", "oracle", "coop"])
def test_settings_come_back_from_json(method: str, preset: str) -> None:
    found = settings(method, preset)
    assert Settings.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_presets() -> None:
    assert settings().generator.condition == "tokens"
    assert settings().vae.kind == "light"
    small = settings("paper")  # the paper's construction at a CPU's size
    assert {name: getattr(small.generator, name) for name in SMALL} == SMALL
    assert (small.generator.condition, small.vae.kind) == ("pooled", "light")
    assert small.fit == MethodFit(lr=2e-3)
    whole = settings("paper", "paper")
    assert (whole.generator.width, whole.generator.kept) == (512, KEPT_OF_PAPER)
    assert (whole.vae.kind, whole.fit.lr, whole.fit.schedule) == ("reference", 1e-4, "constant")
    released = settings("released", "released")
    assert (released.generator.learn_sigma, released.vae.scale) == (True, "unit")


def test_one_value_at_a_time() -> None:
    found = settings(
        "diff-prompt", "default", "generator_fit.steps=500", "generator.nfe=5", "method.depth=4",
        "encoder.width=64", "lr=0.01", "method.form=latent", "method.depth=2", "kept=3",
    )  # fmt: skip
    assert found.generator_fit.steps == 500
    assert found.generator.nfe == 5
    assert found.generator.encoder.width == 64
    assert found.fit.lr == 0.01  # the section "fit" comes first
    assert found.method == {"maps": 3, "depth": 2, "form": "latent"}
    assert settings("vpt", "default", "method.length=2").method == {"length": 2}


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("fit.stepz=5", "vae.kin=light"), ["fit.stepz", "vae.kin", "fit.steps"]),
        (("fit.steps=many", "sampling.samples=0"), ["fit.steps", "sampling.samples"]),
        (("width=16",), ["ambiguous"]),
        (("fit.steps",), ["KEY=VALUE"]),
        (("method.depth",), ["KEY=VALUE"]),
        (("sampling.nfe=3",), ["unknown key"]),
        (("generator.width=30",), ["width: 30 is no multiple"]),
    ],
)
def test_what_is_wrong_is_said_all_at_once(sets: tuple[str, ...], said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        settings("diff-prompt", "default", *sets)
    for words in said:
        assert words in str(error.value)


def test_a_row_is_named_by_what_it_depends_on(tmp_path: Path) -> None:
    def name(method: str, *overrides: str) -> str:
        return run_of(tiny_job(tmp_path, method, *overrides)).name

    of_generator = ("generator_fit.steps=4", "encoder.depth=2")
    changes = {
        "coop": ("generator_fit.steps=4", "encoder.depth=2", "vae_fit.steps=4", "generator.nfe=1"),
        "oracle": ("generator_fit.steps=4", "vae_fit.steps=4", "sampling.samples=3"),
        "noise": ("generator_fit.steps=4", "generator.nfe=1"),
        "independent": ("vae_fit.steps=4", "generator.nfe=1", "generator.width=32"),
        "regression": ("generator.nfe=1", "generator.guidance=2"),
    }
    for method, free in changes.items():
        assert {name(method, one) for one in free} == {name(method)}, method
        assert name(method, "fit.steps=7") != name(method)
    for method in ("diff-prompt", "regression", "map-box", "mean-of-samples"):
        assert name(method) not in {name(method, one) for one in of_generator}, method
    assert name("diff-prompt", "generator.nfe=1") != name("diff-prompt")
    assert name("noise", "vae_fit.steps=4") != name("noise")
    assert name("independent", "encoder.depth=2") != name("independent")
    assert name("mean-of-samples", "sampling.samples=3") != name("mean-of-samples")


def test_one_network_trains_as_long_as_is_asked_for() -> None:
    def fit(method: str, *overrides: str) -> tuple[int, int, int]:
        found = settings(method, "default", *overrides).generator_fit
        return found.steps, found.epochs, found.encoder_steps

    assert fit("diff-prompt") == (2000, 0, 4000)
    assert fit("independent") == (4000, 0, 0)
    assert fit("paper") == fit("diff-prompt", "generator.condition=pooled") == (6000, 0, 0)
    for method in ("independent", "paper"):
        assert fit(method, "generator_fit.steps=100") == (100, 0, 0)
        epochs = ("generator_fit.steps=0", "generator_fit.epochs=5")
        assert fit(method, *epochs) == (0, 5, 0)


def test_what_a_row_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no method has settings"):
        settings("map-box", "default", "method.depth=1")
    with pytest.raises(ConfigError, match="'pooled' has no map"):
        settings("regression", "paper")


def test_a_job_comes_back_from_json_and_from_its_command(tmp_path: Path) -> None:
    job = GroundingJobConfig(
        data="crowds", test=("crowds", "scenes/held-out looks"), masks_from="scenes",
        method="oracle", seed=3, overrides=("fit.steps=5", "method.form=grid"),
        setting="depth=1", out=tmp_path / "out", runs_dir=tmp_path, device="cpu", workers=0,
    )  # fmt: skip
    read = json.loads(json.dumps(job.to_json()))
    assert GroundingJobConfig.from_json(read) == job
    del read["device"]  # as runs of before
    assert GroundingJobConfig.from_json(read) == replace(job, device="auto")
    words = shlex.split(job.command())
    assert words[:3] == ["diffuprompt", "ground", "train"]
    assert str(tmp_path) not in job.command()
    again = ground_train.job(parsed(words[3:]))
    asked = {**vars(job), "out": None, "runs_dir": Path("runs")}
    asked |= {"device": "auto", "workers": 2}
    assert again == GroundingJobConfig(**asked)
    assert run_of(again).name == run_of(job).name


def parsed(words: list[str]) -> ground_train.Args:
    from diffuprompt.cli.parse import parse

    return parse(ground_train.Args, words, prog="train")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "diff-promt"}, "'diff-prompt'"),
        ({"seed": -1, "workers": -1}, "seed"),
        ({"data": ""}, "data"),
        ({"test": ("",)}, "test"),
        ({"device": "gpu"}, "cuda"),
    ],
)
def test_a_job_that_cannot_be_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        GroundingJobConfig(**values)
    assert said in str(error.value)
    assert all(name in str(error.value) for name in values)


def test_a_name_says_all_that_counts_and_nothing_else(tmp_path: Path) -> None:
    name = run_of(tiny_job(tmp_path, "vpt")).name
    assert name.startswith("ground-scenes-vpt-seed1-")
    same: list[dict[str, Any]] = [
        {"workers": 4}, {"runs_dir": Path("other")}, {"out": tmp_path}, {"setting": "x"},
        {"test": ("crowds",)}, {"overrides": (*SETS, "fit.batch=4")},
    ]  # fmt: skip
    assert {run_of(tiny_job(tmp_path, "vpt", **values)).name for values in same} == {name}
    other: list[dict[str, Any]] = [
        {"seed": 2}, {"overrides": (*SETS, "fit.batch=5")}, {"data": "crowds"},
        {"detector": "d"}, {"overrides": (*SETS, "method.length=1")}, {"masks_from": "crowds"},
    ]  # fmt: skip
    names = {run_of(tiny_job(tmp_path, "vpt", **values)).name for values in other}
    assert len(names) == len(other)
    assert name not in names


def test_rows_share_masks_where_they_are_made_alike(tmp_path: Path) -> None:
    def masks(method: str, *sets: str, **values: Any) -> str:
        return run_of(tiny_job(tmp_path, method, *sets, **values)).masks

    own = masks("diff-prompt")
    shared = {m for m in RECIPES if masks(m) == own}
    assert shared == {"diff-prompt", "regression", "shuffled", "map-box", "mean-of-samples"}
    assert masks("diff-prompt", "method.depth=1", "fit.steps=1", "generator.nfe=1") == own
    assert masks("diff-prompt", "vae_fit.steps=4") != own
    assert masks("diff-prompt", seed=2) != own
    assert {masks(m) for m in ("zero-shot", "oracle", "vpt", "independent", "noise")} == {""}


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run = run_of(tiny_job(tmp_path, "vpt"))
    folder = GroundingFolder(tmp_path / "run")
    with pytest.raises(DataError, match="not a run folder"):
        read_grounding_run(folder.path)
    folder.open(run)
    assert read_grounding_run(folder.path) == run
    folder.open(run_of(tiny_job(tmp_path, "vpt", workers=3)))
    with pytest.raises(ConfigError, match="holds another run"):
        folder.open(run_of(tiny_job(tmp_path, "vpt", seed=2)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed": 1', '"seed": 2', "checksum differs"),
        ('"checksum"', '"sum"', "KeyError"),
        ("grounding-run/1", "run/1", "expected a run of"),
        ('"job": {', '"job": {"colour": 1,', "damaged"),
        ("{", "[", "JSON"),
    ],
)
def test_damage_is_said(old: str, new: str, said: str, tmp_path: Path) -> None:
    folder = GroundingFolder(tmp_path / "run")
    folder.open(run_of(tiny_job(tmp_path, "vpt")))
    file = folder.path / "run.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=said) as error:
        read_grounding_run(folder.path)
    assert str(file) in str(error.value)
