"""A tiny world with two trained and scored runs, made once per process."""

from __future__ import annotations

import os
from pathlib import Path

from tests.world import make_clip, make_pictures

from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job


def trained_world(folder: Path) -> Path:
    """Return a folder with ``clip``, ``colours`` and the finished runs coop and diffusion."""
    before = os.environ.get("DIFFUPROMPT_CACHE")
    os.environ["DIFFUPROMPT_CACHE"] = str(folder / "cache")
    try:
        make_clip(folder / "clip")
        make_pictures(folder / "colours")
        for name, learner, generator in (
            ("coop", "coop", "none"),
            ("diffusion", "cocoop", "diffusion"),
        ):
            job = JobConfig(
                data=str(folder / "colours"),
                backbone=str(folder / "clip"),
                learner=learner,
                generator=generator,
                shots=2,
                workers=0,
                overrides=("epochs=1", "views=1", "fit.epochs=1", "diffusion.nfe=2"),
                out=folder / name,
            )
            evaluate_run(train_job(job))
    finally:
        os.environ.pop("DIFFUPROMPT_CACHE")
        if before is not None:
            os.environ["DIFFUPROMPT_CACHE"] = before
    return folder
