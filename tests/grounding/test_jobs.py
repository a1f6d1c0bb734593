"""Grounding jobs from end to end: every row trains, is scored and leaves a valid record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.grounding.tiny_jobs import tiny_job

from diffuprompt.errors import ConfigError, DataError, DiffupromptError
from diffuprompt.jobs.grounding.recipes import RECIPES, RIVALS
from diffuprompt.jobs.grounding.run import evaluate_grounding, train_grounding
from diffuprompt.record_grounding import GroundingRecord, read_grounding_record

MASKS = {"generated", "mean", "map", "truth", "shuffled", "noise", "independent"}
# every source of maps, every form of prompts, and one rival of each mechanism
ROWS = (*(name for name in RECIPES if name not in RIVALS), "vpt", "tip-adapter", "lora")
UNTRAINED = ("zero-shot", "map-box", "tip-adapter")  # the last keeps what it reads


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all rows share their stages, and a cache of their own."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUPROMPT_CACHE", str(folder / "cache"))
        yield folder


def finished(runs: Path, method: str) -> GroundingRecord:
    return read_grounding_record(evaluate_grounding(train_grounding(tiny_job(runs, method))))


@pytest.mark.parametrize("method", ROWS)
def test_a_row_trains_is_scored_and_leaves_a_record(method: str, runs: Path) -> None:
    recipe = RECIPES[method]
    record = finished(runs, method)
    assert (record.job.method, record.job.dataset, record.job.seed) == (method, "scenes", 1)
    (scores,) = record.tests
    assert (scores.test, scores.total) == ("scenes", 8)
    assert (scores.mask_ious() is not None) == bool(recipe.maps)
    assert bool(record.generator_parameters) == (recipe.generates or recipe.decodes)
    assert bool(record.trainable_parameters) == (method not in UNTRAINED)
    assert record.job.expressions == (0 if method == "zero-shot" else 64)
    named = {"mask-vae"} if recipe.decodes or recipe.maps == "map" else set()
    named |= {"mask-generator"} if recipe.generates else set()
    assert named <= set(record.seconds) <= named | {"maps", "method"}
    assert ("method" in record.seconds) == bool(recipe.method)
    assert record.command.startswith(f"diffuprompt ground train --method {method} --seed 1 --set")
    if recipe.maps == "truth":
        assert record.tests[0].metrics["mask_iou"] == pytest.approx(100, abs=1)


def test_every_source_of_maps_has_its_row() -> None:
    assert {RECIPES[name].maps for name in ROWS} == MASKS | {""}


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_finished_job_does_nothing(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    finished(runs, "zero-shot")
    before = content(runs)
    with caplog.at_level(logging.INFO):
        finished(runs, "zero-shot")
    assert content(runs) == before
    assert "trained already" in caplog.text
    assert "evaluated already" in caplog.text


def test_the_same_job_is_the_same_bits_elsewhere(runs: Path, tmp_path: Path) -> None:
    first = train_grounding(tiny_job(runs, "diff-prompt"))
    other = train_grounding(tiny_job(tmp_path, "diff-prompt"))
    assert first.name == other.name
    names = ["generator.safetensors", "grounding.json", "method.safetensors", "vae.safetensors"]
    assert sorted(path.name for path in (first / "artifact").iterdir()) == names
    for name in names:
        assert (first / "artifact" / name).read_bytes() == (other / "artifact" / name).read_bytes()
    keys = {path.parent.name for path in (runs / ".stages").glob("*/*/done.json")}
    assert {path.parent.name for path in (tmp_path / ".stages").glob("*/*/done.json")} <= keys


def test_another_test_set_joins_the_record(runs: Path) -> None:
    run = train_grounding(tiny_job(runs, "zero-shot"))
    evaluate_grounding(run)
    both = read_grounding_record(evaluate_grounding(run, test=("scenes/held-out looks",)))
    assert [one.test for one in both.tests] == ["scenes", "scenes/held-out looks"]
    assert both.tests[0].content != both.tests[1].content
    with pytest.raises(ConfigError, match="held-out looks"):
        evaluate_grounding(run, test=("scenes/sketchy",))


@pytest.mark.parametrize(
    ("method", "more", "values", "said"),
    [
        ("vpt", "method.lenght=1", {}, "'length'"),
        ("diff-prompt", "method.form=cube", {}, "form"),
        ("oracle", "method.form=latent", {}, "reads latents"),
        ("vpt", "fit.steps=1", {"test": ("scenes/sketchy",)}, "test: expected one of"),
        ("vpt", "fit.steps=1", {"detector": "scenes-glib"}, "scenes-glib"),
        ("vpt", "fit.steps=1", {"data": "no-such.json", "detector": "scenes-glip"}, "no-such"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(
    method: str, more: str, values: dict[str, object], said: str, runs: Path
) -> None:
    before = {path.name for path in runs.iterdir()}
    with pytest.raises(DiffupromptError, match=said):
        train_grounding(tiny_job(runs, method, more, **values))
    assert {path.name for path in runs.iterdir()} == before


def test_a_run_that_is_not_trained_is_not_scored(runs: Path) -> None:
    run = train_grounding(tiny_job(runs, "zero-shot", "fit.batch=3"))
    (run / "artifact" / "grounding.json").unlink()
    with pytest.raises(DataError, match="not trained to the end"):
        evaluate_grounding(run)


def test_without_held_expressions_all_are_read(runs: Path) -> None:
    job = tiny_job(runs, "regression", "expressions.held=0", "fit.steps=1")
    assert (train_grounding(job) / "artifact" / "grounding.json").is_file()
