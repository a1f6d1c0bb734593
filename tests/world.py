"""A world small enough to run whole jobs in seconds: a random CLIP and pictures of six colours."""

from __future__ import annotations

import io
import math
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.clip import tiny

from diffuprompt.checkpoints.hf import save_hf
from diffuprompt.cli.main import main
from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.model import Clip
from diffuprompt.data.transforms import Preprocess
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import Prepared, image_set, prepare
from diffuprompt.learners.base import Learner
from diffuprompt.stages.bench import Bench
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.learner import untrained

SIDE = 32
COLOURS = {
    "black": (10, 10, 10),
    "blue_sky": (40, 60, 220),
    "green": (30, 200, 40),
    "red": (220, 30, 30),
    "white": (240, 240, 240),
    "yellow": (230, 220, 20),
}
CLASSES = tuple(COLOURS)
IMAGES = 6  # per class


def make_clip(folder: Path, *, scale: float = 20.0, seed: int = 0) -> Path:
    """Save a random CLIP of two layers per tower; ``scale`` below 50 chooses the lite recipes."""
    tokenizer = tiny.tokenizer()
    text = TextConfig(
        width=32,
        layers=2,
        heads=2,
        mlp_width=64,
        vocab_size=tokenizer.vocab_size,
        context_length=40,
        sot=tokenizer.sot,
        eot=tokenizer.eot,
        pad=tokenizer.pad,
    )
    vision = VisionConfig(width=32, layers=2, heads=2, mlp_width=64, image_size=SIDE, patch_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ClipConfig(text=text, vision=vision, embed_dim=24)
        clip = Clip(config, tokenizer, Preprocess.for_size(SIDE))
    with torch.no_grad():
        clip.logit_scale.fill_(math.log(scale))
    save_hf(clip, folder)
    return folder


def make_pictures(
    folder: Path, classes: tuple[str, ...] = CLASSES, *, splits: tuple[str, ...] = (), seed: int = 0
) -> Path:
    """Write ``IMAGES`` noisy pictures of one colour per class, in one folder per class.

    With ``splits`` there is such a set of folders in each of them.
    """
    rng = np.random.default_rng(seed)
    for split in splits or ("",):
        for name in classes:
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(IMAGES):
                noise = rng.normal(0, 40, (SIDE, SIDE + 8, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended and what it showed."""

    code: int
    out: str
    err: str


def command(*words: object) -> Done:
    """Run ``diffuprompt`` with these words in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code=code, out=out.getvalue(), err=err.getvalue())


def small_job(world: Path, runs: Path, learner: str, *overrides: str) -> JobConfig:
    """Diffusion on the colours, trained for a few steps."""
    return JobConfig(
        data=str(world / "colours"),
        backbone=str(world / "clip"),
        learner=learner,
        generator="diffusion",
        shots=2,
        protocol="base-to-new",
        runs_dir=runs,
        device="cpu",
        workers=0,
        overrides=("train.epochs=2", *overrides, "fit.epochs=2", "fit.batch=4"),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A job with everything loaded and nothing trained."""

    prepared: Prepared
    bench: Bench
    tests: dict[str, ImageSet]

    @property
    def train(self) -> ImageSet:
        """The training images."""
        return self.bench.train

    def learner(self) -> Learner:
        """Return the learner that the job asks for, untrained."""
        return untrained(self.bench, self.prepared.chain.learner)


def asked(world: Path, **values: Any) -> JobConfig:
    """Return a job on the colours: by default CoOp, two shots, base-to-new."""
    places = {"data": str(world / "colours"), "backbone": str(world / "clip")}
    small = {"shots": 2, "workers": 0, "device": "cpu", "protocol": "base-to-new"}
    return JobConfig(**{**places, **small, **values})


def opened(world: Path, **values: Any) -> Opened:
    """Prepare and load the job that `asked` returns."""
    return open_job(asked(world, **values))


def open_job(job: JobConfig) -> Opened:
    """Prepare and load a job."""
    prepared = prepare(job)
    bench = prepared.load()
    tests = {
        name: image_set(selection, bench.train.store, prepared.sentences)
        for name, selection in prepared.roles.tests.items()
    }
    return Opened(prepared=prepared, bench=bench, tests=tests)
