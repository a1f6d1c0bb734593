"""Grounding rows: seeds paired honestly, intervals over pictures equal to brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.report import factory
from tests.report.grounding import grounding_record, write_grounding

from diffuprompt.errors import DataError
from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.report.grounding_intervals import ExpressionIntervals
from diffuprompt.report.grounding_rows import MethodRow, method_rows
from diffuprompt.report.load import GroundingSource, load_grounding_records, load_records
from diffuprompt.report.stats import cluster_bootstrap


def rows(records: list[GroundingRecord]) -> dict[str, MethodRow]:
    sources = [GroundingSource(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]
    return {row.method: row for row in method_rows(sources)}


def test_the_cluster_bootstrap_equals_loops_over_pictures() -> None:
    rng = np.random.default_rng(5)
    clusters = rng.integers(0, 7, 30)
    clusters[:7] = np.arange(7)
    values = rng.random((3, 30))
    values[2, clusters > 3] = np.nan
    found = cluster_bootstrap(values, clusters, resamples=40, seed=9)
    draws = np.random.default_rng(9).integers(7, size=(40, 7))
    for r in range(40):
        for k in range(3):
            items = [v for c in draws[r] for v in values[k][clusters == c] if not np.isnan(v)]
            assert found[r, k] == pytest.approx(np.mean(items) if items else np.nan, nan_ok=True)


def test_more_than_a_block_of_resamples_is_one_stream() -> None:
    values, clusters = np.arange(6.0)[None], np.arange(6)
    long, short = (cluster_bootstrap(values, clusters, resamples=n) for n in (2500, 1000))
    assert long.shape == (2500, 1)
    assert np.array_equal(long[:1000], short)
    assert len(np.unique(long)) > 10


def test_expressions_of_one_picture_count_once() -> None:
    """Four copies of every expression in one picture leave the interval as wide as one copy."""
    hits = (np.random.default_rng(0).random(200) < 0.5).astype(float)
    alone = cluster_bootstrap(hits[None], np.arange(200)).std()
    copied = cluster_bootstrap(np.repeat(hits, 4)[None], np.repeat(np.arange(200), 4)).std()
    apart = cluster_bootstrap(np.repeat(hits, 4)[None], np.arange(800)).std()
    p = hits.mean()
    assert alone == pytest.approx((p * (1 - p) / 200) ** 0.5, rel=0.05)  # binomial
    assert copied == pytest.approx(alone, rel=0.05)
    assert apart == pytest.approx(alone / 2, rel=0.05)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"got \(2, 3\) and \(4,\)"):
        cluster_bootstrap(np.zeros((2, 3)), np.zeros(4, dtype=np.int64))


def test_means_and_differences_are_those_of_the_records() -> None:
    found = rows([grounding_record(m, s) for m in ("diff-prompt", "coop") for s in (1, 2, 3)])
    ours, other = found["diff-prompt"], found["coop"]
    intervals = ExpressionIntervals([ours, other], "scenes", resamples=300, seed=4)
    each = {
        m: [r.tests[0].metrics["r1"] for r in row.records] for m, row in found.items()
    }  # fmt: skip
    assert intervals.seeds(ours, "r1") == pytest.approx(each["diff-prompt"])
    mean = intervals.mean(ours, "r1")
    gain = intervals.difference(ours, other, "r1")
    assert mean is not None
    assert gain is not None
    assert mean.estimate == pytest.approx(np.mean(each["diff-prompt"]))
    assert gain.estimate == pytest.approx(np.mean(each["diff-prompt"]) - np.mean(each["coop"]))
    pictures = np.array(ours.records[0].tests[0].pictures())
    draws = np.random.default_rng(4).integers(pictures.max() + 1, size=(300, pictures.max() + 1))
    hits = {
        m: np.mean([[100.0 * (k == 0) for k in r.tests[0].ranks()] for r in row.records], axis=0)
        for m, row in found.items()
    }
    brute = []
    for drawn in draws:
        items = np.concatenate([np.flatnonzero(pictures == p) for p in drawn])
        brute.append([hits[m][items].mean() for m in ("diff-prompt", "coop")])
    left, right = np.array(brute).T
    ends = np.quantile(left, (0.025, 0.975))
    assert (mean.low, mean.high) == pytest.approx(tuple(ends), abs=1e-4)  # kept in float32
    ends = np.quantile(left - right, (0.025, 0.975))
    assert (gain.low, gain.high) == pytest.approx(tuple(ends), abs=1e-4)


def test_kinds_make_up_the_whole() -> None:
    row = rows([grounding_record("diff-prompt")])["diff-prompt"]
    intervals = ExpressionIntervals([row], "scenes", resamples=50)
    assert intervals.kinds == ("extreme", "plain", "relation")
    whole = intervals.mean(row, "r1")
    parts = [intervals.mean(row, "r1", kind) for kind in intervals.kinds]
    assert whole is not None
    assert np.mean([p.estimate for p in parts if p]) == pytest.approx(whole.estimate)  # 20 each
    assert intervals.mean(row, "ub", "plain") is None
    assert intervals.mean(row, "r1", "unknown") is None


def test_other_rows_change_no_interval() -> None:
    found = rows([grounding_record(m) for m in ("diff-prompt", "coop", "vpt")])
    ours = found["diff-prompt"]
    alone = ExpressionIntervals([ours], "scenes", resamples=200)
    among = ExpressionIntervals(list(found.values()), "scenes", resamples=200)
    assert alone.mean(ours, "r5") == among.mean(ours, "r5")
    assert alone.difference(ours, found["coop"], "r1") is None


def test_what_was_not_trained_is_compared_with_every_seed() -> None:
    records = [grounding_record("zero-shot", 1)]
    records += [grounding_record("diff-prompt", s) for s in (1, 2, 3)]
    records += [grounding_record("paper", s) for s in (2, 5)]
    found = rows(records)
    ours, frozen, paper = (found[m] for m in ("diff-prompt", "zero-shot", "paper"))
    assert ours.pairs(frozen) == [(0, 0), (1, 0), (2, 0)]
    assert frozen.pairs(ours) == [(0, 0), (0, 1), (0, 2)]
    assert ours.pairs(paper) == [(1, 0)]
    repeated = rows([grounding_record("zero-shot", s) for s in (1, 2, 3)])["zero-shot"]
    assert ours.pairs(repeated) == [(0, 0), (1, 0), (2, 0)]
    other = ours.records[1].model_copy(
        update={"job": ours.records[1].job.model_copy(update={"detector_hash": "d1"})}
    )
    assert rows([ours.records[0], other])["diff-prompt"].pairs(frozen) == [(0, 0)]


def test_a_test_set_is_measured_by_the_seeds_that_scored_it() -> None:
    found = rows(
        [grounding_record("zero-shot"), grounding_record("diff-prompt", 1, tests=("crowds",)),
         grounding_record("diff-prompt", 2)]
    )  # fmt: skip
    assert found["diff-prompt"].tests == ("scenes",)
    assert set(found["zero-shot"].values("scenes", ("r1", "mask_iou"))) == {"r1"}
    assert found["diff-prompt"].values("crowds", ("r1",)) == {}
    crowds = ExpressionIntervals(list(found.values()), "crowds")
    mean, (only,) = (read(found["diff-prompt"], "r1") for read in (crowds.mean, crowds.seeds))
    assert mean is not None
    assert mean.estimate == only
    assert crowds.mean(found["zero-shot"], "r1") is None
    assert crowds.difference(found["diff-prompt"], found["zero-shot"], "r1") is None
    nothing = ExpressionIntervals(list(found.values()), "collages")
    assert (nothing.total, nothing.mean(found["diff-prompt"], "r1")) == (0, None)


def test_records_that_do_not_fit_together_are_refused() -> None:
    a, b = grounding_record("diff-prompt", 1), grounding_record("coop", 1)
    scores = b.tests[0].model_copy(update={"content": "other pictures"})
    with pytest.raises(DataError, match=r"(?s)content of the scenes test.*0\.json.*1\.json"):
        rows([a, b.model_copy(update={"tests": (scores,)})])
    job = b.job.model_copy(update={"detector_hash": "d1"})
    with pytest.raises(DataError, match=r"(?s)detector of scenes, seed 1.*d0.*d1"):
        rows([a, b.model_copy(update={"job": job})])
    later = grounding_record("diff-prompt", 2)
    with pytest.raises(DataError, match=r"(?s)row scenes/diff-prompt disagree on the config lr"):
        rows([a, later.model_copy(update={"config": {**later.config, "lr": 0.1}})])


def test_each_task_is_loaded_by_its_own_function(tmp_path: Path) -> None:
    write_grounding(tmp_path / "grounding", [grounding_record("coop", s) for s in (2, 1)])
    with pytest.raises(DataError, match="2 are of the task grounding"):
        load_records([tmp_path])
    factory.write(tmp_path, [factory.record()])
    assert [s.record.task for s in load_records([tmp_path])] == ["classification"]
    assert [s.record.job.seed for s in load_grounding_records([tmp_path])] == [1, 2]
    other = grounding_record("coop", 1, rate=0.1)
    (tmp_path / "grounding" / "z.json").write_text(other.model_dump_json())
    with pytest.raises(DataError, match=r"(?s)same job.*'coop'.*z\.json"):
        load_grounding_records([tmp_path])
