"""Grounding jobs of a second: few expressions, networks of a few thousand weights, some steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffuprompt.jobs.grounding.job import GroundingJobConfig

SETS = (
    "expressions.train=64", "expressions.held=16", "expressions.test=8",
    "vae_fit.steps=3", "vae_fit.batch=8", "generator_fit.steps=3", "generator_fit.batch=8",
    "generator_fit.encoder_steps=3",
    "generator.width=16", "generator.depth=1", "generator.heads=2", "generator.kept=2",
    "encoder.width=16", "encoder.depth=1", "encoder.heads=2", "generator.nfe=2",
    "sampling.samples=2", "fit.steps=2", "fit.batch=4",
)  # fmt: skip


def tiny_job(runs: Path, method: str, *more: str, **values: Any) -> GroundingJobConfig:
    return GroundingJobConfig(
        **{
            "method": method,
            "runs_dir": runs,
            "overrides": (*SETS, *more),
            "workers": 0,
            **values,
        }
    )
