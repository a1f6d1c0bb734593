"""Grounding jobs in processes of their own that can be killed at any moment; see jobs.killing."""

from __future__ import annotations

import os
from pathlib import Path

from tests.jobs.killing import slow_writes

from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.run import evaluate_grounding, train_grounding
from diffuprompt.stages.grounding import maps, score

FEW = 3  # expressions of a batch, so that parts are many


def train(job: GroundingJobConfig, cache: Path, save_every_s: float, pause_s: float) -> None:
    """Train as ``diffuprompt ground train`` does, saving slowly."""
    os.environ["DIFFUPROMPT_CACHE"] = str(cache)
    slow_writes(pause_s)
    maps.BATCH = FEW
    train_grounding(job, save_every_s=save_every_s)


def evaluate(run: Path, cache: Path, save_every_s: float, pause_s: float) -> None:
    """Evaluate as ``diffuprompt ground evaluate`` does, in batches of three expressions."""
    os.environ["DIFFUPROMPT_CACHE"] = str(cache)
    slow_writes(pause_s)
    maps.BATCH = score.BATCH = FEW
    evaluate_grounding(run, save_every_s=save_every_s)
