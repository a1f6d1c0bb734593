"""The jobs of the grounding study: what they are, in what order, and which of them share stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffuprompt.cli import ground_study
from diffuprompt.cli.main import main
from diffuprompt.cli.study import FAILED
from diffuprompt.engine import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.grounding import make_method, open_detector
from diffuprompt.jobs import GroundingJobConfig, grounding_run
from diffuprompt.jobs.grounding.work import GroundingWork
from diffuprompt.matrix import plan_grounding
from diffuprompt.matrix.run import Failure
from diffuprompt.runs import Store
from diffuprompt.studies import SharedFields, grounding_jobs
from diffuprompt.studies.grounding.design import (
    ABLATIONS,
    METHODS,
    OF_PROMPTS,
    OURS,
    TRANSFERS,
    WORLDS,
    Ablation,
)

FEW = ("expressions.train=16",)


@pytest.fixture(scope="module")
def jobs() -> list[GroundingJobConfig]:
    return grounding_jobs()


def test_a_study_that_is_cut_off_has_its_most_telling_rows(jobs: list[GroundingJobConfig]) -> None:
    rows = [(job.seed, job.data, job.method) for job in jobs if not job.setting]
    assert rows[:3] == [(1, "scenes", m) for m in ("zero-shot", OURS, "regression")]
    seeds = [seed for seed, _, _ in rows]
    assert seeds == sorted(seeds)
    assert [w for s, w, m in rows if m == OURS and s == 1] == ["scenes", "crowds", "collages"]
    groups = {entry.key: entry.group for entry in METHODS}
    of_crowds = [groups[m] for s, w, m in rows if (s, w) == (2, "crowds")]
    assert of_crowds[2:] == ["control"] * 7 + ["rival"] * 14
    assert [m for s, w, m in rows if (s, w) == (1, "collages")][10:12] == ["paper", "released"]
    counts = {key: sum(m == key for _, _, m in rows) for key in groups}
    assert counts == {entry.key: entry.seeds * len(WORLDS) for entry in METHODS}
    settings = [job.setting for job in jobs]
    assert not any(settings[: len(rows)])
    assert all(settings[len(rows) :])


def test_other_test_sets_are_for_what_generalization_is_asked_of(
    jobs: list[GroundingJobConfig],
) -> None:
    for job in jobs:
        world = next(w for w in WORLDS if w.name == job.data)
        more = job.method in ("zero-shot", OURS) and not job.setting
        more_tests = ("collages/new",) if job.setting == "classes=base" else ()
        assert job.test == (world.name, *(world.others if more else more_tests))


def test_ablations_are_overrides_of_one_seed_and_defaults_are_the_main_row(
    jobs: list[GroundingJobConfig],
) -> None:
    varied = {job.setting: job for job in jobs if job.setting}
    known = [one.setting for one in (*ABLATIONS, *TRANSFERS)]
    as_it_is = {"depth=6", "length=8", "nfe=8", "order=all"}
    assert set(varied) == set(known) - as_it_is
    assert {job.seed for job in varied.values()} == {1}
    assert varied["depth=2"].overrides == ("method.depth=2",)
    assert varied["without=text"].overrides == (
        "method.text_specific=false", "method.text_global=false",
    )  # fmt: skip
    transfer = varied["generator=scenes"]
    assert (transfer.data, transfer.masks_from) == ("crowds", "scenes")
    assert transfer.overrides == ("fit.batch=8",), "stages 1 and 2 are those of scenes"
    assert varied["classes=base"].overrides[-1] == "expressions.domain=base"
    fewer = grounding_jobs(shared=SharedFields(overrides=("generator.nfe=25",)))
    assert {"nfe=8"} == {job.setting for job in fewer} - set(varied) - {""}


def test_the_defaults_of_prompts_are_what_they_are_on_the_bundled_detector() -> None:
    method: Any = make_method(OURS, open_detector("scenes-glip"))
    found = {key: getattr(method.config, key.partition(".")[2]) for key in OF_PROMPTS}
    assert found == OF_PROMPTS


def test_a_record_counts_as_the_ablation_that_it_is() -> None:
    depth, nfe = (next(a for a in ABLATIONS if a.setting == s) for s in ("depth=6", "nfe=4"))
    assert depth.is_in({"method": {}})
    assert not depth.is_in({"method": {"depth": 4}})
    assert not nfe.is_in({"generator": {"nfe": 25}})
    assert nfe.is_in({"generator": {"nfe": 4}})
    assert not nfe.is_in({"method": "unknown"})
    assert not TRANSFERS[0].is_in({"method": {}})


def test_parts_of_the_study() -> None:
    only = grounding_jobs(["crowds"], [2, 3], ["lora", "diff-prompt", "zero-shot"])
    assert [(j.seed, j.data, j.method) for j in only] == [
        (2, "crowds", "zero-shot"), (2, "crowds", OURS), (2, "crowds", "lora"),
        (3, "crowds", OURS), (3, "crowds", "lora"),
    ]  # fmt: skip
    rest = {job.method for job in grounding_jobs(["crowds"], [2, 3])}
    assert not rest & {"zero-shot", "paper", "released"}, "they are made once, with seed 1"
    assert not any(job.setting for job in grounding_jobs(ablations=False))
    for values, message in (
        ((["ocean"],), "--worlds: expected some of scenes, crowds, collages; got ocean"),
        (((), (1,), ["vtp"]), "--methods: .*got vtp"),
        (((), ()), "--seeds: expected at least one"),
    ):
        with pytest.raises(ConfigError, match=message):
            grounding_jobs(*values)  # type: ignore[arg-type]


def test_what_reads_the_same_masks_waits_for_who_makes_them() -> None:
    planned = plan_grounding(grounding_jobs(["scenes", "crowds"], [1]))
    by_title = {p.title: p for p in planned}
    ours = by_title["scenes diff-prompt seed 1"]
    needing = {p.title for p in planned if p.needs == ours.name}
    own = ("regression", "shuffled", "map-box", "mean-of-samples")
    varied = [f"diff-prompt {a.setting}" for a in ABLATIONS if f"depth={6}" != a.setting]
    expected = {f"scenes {m} seed 1" for m in (*own, *varied)} & set(by_title)
    assert needing == expected | {"crowds diff-prompt generator=scenes seed 1"}
    order = [p.name for p in planned]
    assert all(p.needs is None or order.index(p.needs) < order.index(p.name) for p in planned)
    assert [p.title for p in planned][:3] == [
        "scenes zero-shot seed 1", "scenes diff-prompt seed 1", "scenes regression seed 1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the keys of a job's stages: Mask-VAE, generator, maps, method. Nothing is trained."""
    runs, detector = tmp_path_factory.mktemp("runs"), open_detector("scenes-glip")

    def of(data: str = "scenes", varied: Ablation | None = None) -> list[str]:
        overrides = (*FEW, *(varied.overrides if varied else ()))
        masks_from = varied.masks_from if varied else ""
        job = GroundingJobConfig(
            data=data, masks_from=masks_from, overrides=overrides, runs_dir=runs, workers=1
        )
        work = GroundingWork(job, grounding_run(job).settings, Store(runs / ".stages"), NULL, 30.0)
        work.detector = detector
        maps = work.maps_stage(work.for_method)
        assert maps is not None
        stages = (work.vae_stage, work.generator_stage, maps, work.method_stage)
        return [stage.key for stage in stages]

    return of


@pytest.mark.parametrize("name", ["depth", "length", "order", "without", "nfe"])
def test_ablations_train_no_other_generator(name: str, keys: Any) -> None:
    main = keys()
    shared = 2 if name == "nfe" else 3
    tried = {a.settings[k] for a in ABLATIONS if a.setting.startswith(name) for k in a.settings}
    assert tried
    for varied in ABLATIONS:
        if varied.setting.startswith(f"{name}=") and varied.setting != "nfe=8":
            own = keys(varied=varied)
            assert own[:shared] == main[:shared]
            assert not set(own[shared:]) & set(main[shared:])


def test_masks_from_scenes_are_the_stages_of_the_run_on_scenes(keys: Any) -> None:
    """At their own size, 64 pixels, though crowds have 128."""
    scenes, crowds = keys(), keys("crowds")
    borrowed = keys("crowds", TRANSFERS[0])
    assert borrowed[:2] == scenes[:2]
    assert not set(crowds[:2]) & set(scenes[:2])
    assert not set(borrowed[2:]) & {*scenes[2:], *crowds[2:]}


def test_the_verb_runs_the_matrix_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[list[str], Path, int, int]] = []
    written: list[Path] = []

    def run_matrix(planned: Any, *, results: Path, parallel: int, threads: int) -> Any:
        asked.append(([p.title for p in planned], results, parallel, threads))
        results.mkdir(parents=True)
        (results / "one.json").write_text("{}")
        return (Failure(planned=planned[1], error="bad luck", log_file=None),)

    def page(folder: Path) -> list[Path]:
        written.append(folder)
        return [folder / "RESULTS.md"]

    monkeypatch.setattr("diffuprompt.matrix.run_matrix", run_matrix)
    monkeypatch.setattr("diffuprompt.studies.write_grounding_results", page)
    words = ["ground", "study", "--worlds", "scenes", "--seeds", "1", "--methods", "zero-shot",
             "lora", "--runs-dir", str(tmp_path / "runs"), "--results", str(tmp_path / "results"),
             "--jobs", "2"]  # fmt: skip
    assert main([*words, "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:6] for line in listed[3:]] == [
        ["scenes", "lora", "seed", "1", "to", "do"]
    ]
    assert not asked
    assert main(words) == FAILED
    folder = tmp_path / "results" / ground_study.FOLDER
    assert asked == [(["scenes zero-shot seed 1", "scenes lora seed 1"], folder, 2, 1)]
    assert written == [folder]
    out = capsys.readouterr().out
    assert "failed: scenes lora seed 1: bad luck" in out
    assert f"wrote {folder / 'RESULTS.md'}" in out


def test_a_job_is_told_where_things_are() -> None:
    shared = SharedFields(data_root=Path("data"), runs_dir=Path("elsewhere"), workers=3)
    (job,) = grounding_jobs(["scenes"], [1], ["lora"], shared=shared)
    assert job == replace(
        GroundingJobConfig(method="lora", test=("scenes",)),
        data_root=Path("data"),
        runs_dir=Path("elsewhere"),
        workers=3,
    )
