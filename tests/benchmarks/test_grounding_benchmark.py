"""The grounding benchmark: what it compares is equal, and ratios are of one round."""

from __future__ import annotations

import pytest
import torch
from benchmarks import grounding
from benchmarks.device_bench import Bench
from benchmarks.device_grounding import grounding as section


def test_both_ways_of_prompting_are_equal() -> None:
    torch.manual_seed(0)
    for every in (grounding.swin_jobs(), grounding.bert_jobs()):
        with torch.no_grad():
            prefix, concatenated = (job() for job in every.values())
        assert isinstance(prefix, torch.Tensor)
        assert isinstance(concatenated, torch.Tensor)
        assert torch.allclose(prefix, concatenated, atol=1e-5)  # float32, sums in another order


def test_both_ways_of_suppressing_are_equal() -> None:
    blocks, single = (job() for job in grounding.suppression_jobs().values())
    assert isinstance(blocks, list)
    assert isinstance(single, list)
    assert all(torch.equal(a, b) for a, b in zip(blocks, single, strict=True))


def test_ratios_are_medians_of_the_rounds_own() -> None:
    names = {name for pair in grounding.RATIOS.values() for name in pair}
    rounds = []
    for load, step in ((1.0, 3.0), (50.0, 3.5), (2.0, 9.0)):
        rounds.append({**dict.fromkeys(names, load), "step with prompts": step * load})
    found = grounding.ratios(rounds)
    assert found["step"] == pytest.approx(3.5)
    assert found["draw"] == 1


def test_everything_that_is_compared_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounding, "BATCH", 2)
    every = {**grounding.detector_jobs(), **grounding.suppression_jobs()}
    assert all(grounding.clock(job) > 0 for job in every.values())
    measured = {*every, *grounding.swin_jobs(), *grounding.bert_jobs()}
    assert measured == {name for pair in grounding.RATIOS.values() for name in pair}


def test_the_section_of_the_device_runs_small() -> None:
    found = section(Bench(torch.device("cpu"), small=True))
    assert set(found) == {"64 px"}
    assert found["64 px"]["step_of_prompts"]["ms"] > 0
