"""A tiny world with two trained and scored runs, made once per process."""

from __future__ import annotations

import os
from pathlib import Path

from tests.world import make_clip, make_pictures

from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job


def trained_world(folder: Path, *, scored: bool = True) -> Path:
    """Return a folder with ``clip``, ``colours`` and the runs coop and diffusion, scored or not."""
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
                overrides=("epochs=2", "views=1", "fit.epochs=2"),
                out=folder / name,
            )
            run = train_job(job)
            if scored:
                evaluate_run(run)
    finally:
        os.environ.pop("DIFFUPROMPT_CACHE")
        if before is not None:
            os.environ["DIFFUPROMPT_CACHE"] = before
    return folder
