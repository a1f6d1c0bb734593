"""Precision of a job: part of what a result depends on, and only where it is not fp32."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import asked, opened

from diffuprompt.errors import ConfigError
from diffuprompt.jobs.command import command
from diffuprompt.jobs.job import JobConfig, Resolved, resolve
from diffuprompt.jobs.prepared import prepare


def resolved(**values: Any) -> Resolved:
    job = JobConfig(data="scenes", **values)
    given: dict[str, Any] = {"dataset": "scenes", "backbone": "scenes-clip", "logit_scale": 100.0}
    return resolve(job, own_pictures=False, **given)


@pytest.mark.parametrize("learner", ["coop", "maple", "zero-shot"])
def test_hashes_of_fp32_are_those_of_before_there_was_a_choice(learner: str) -> None:
    found = resolved(learner=learner)
    before = {
        **{k: getattr(found, k) for k in ("dataset", "protocol", "backbone", "learner")},
        **{k: getattr(found, k) for k in ("generator", "shots", "seed", "preset")},
        "train": found.train.stated(),
        "options": dict(found.options),
    }
    text = json.dumps(before, sort_keys=True)
    assert found.hash == hashlib.sha256(text.encode()).hexdigest()[:8]
    assert Resolved.from_json(before) == found


def test_bf16_is_another_run_and_comes_back() -> None:
    full, mixed = resolved(), resolved(precision="bf16")
    assert mixed.hash != full.hash
    assert mixed.to_json() == full.to_json() | {"precision": "bf16"}
    assert Resolved.from_json(json.loads(json.dumps(mixed.to_json()))) == mixed
    assert "--precision bf16" in command(JobConfig(data="scenes", precision="bf16"))
    assert "precision" not in command(JobConfig(data="scenes"))
    with pytest.raises(
        ConfigError, match=r"precision: got .* expected one of .*Did you mean 'bf16'"
    ):
        JobConfig(data="scenes", precision="bf61")  # type: ignore[arg-type]


def test_a_job_runs_its_towers_as_asked(world: Path) -> None:
    def logits(precision: Any) -> torch.Tensor:
        found = opened(world, shots=1, precision=precision)
        clip, learner = found.bench.clip, found.learner()
        assert clip.text.precision == clip.vision.precision == precision
        images = found.train.batch(torch.arange(2), needs=learner.needs)
        return learner.logits(images, found.train.classes).detach()

    full, mixed = logits("fp32"), logits("bf16")
    assert mixed.dtype == full.dtype == torch.float32
    # features move by 1 % (tests/clip/test_precision.py), their cosines by less, times 20
    assert 0 < float((mixed - full).abs().max()) < 0.2


def test_every_stage_of_bf16_is_another(world: Path) -> None:
    def keys(precision: Any) -> dict[str, str]:
        job = asked(world, learner="cocoop", generator="diffusion", precision=precision)
        return prepare(job).chain.keys

    full, mixed = keys("fp32"), keys("bf16")
    assert full.keys() == mixed.keys()
    assert not set(full.values()) & set(mixed.values())
