"""The demo: the whole line on the bundled world and the bundled backbone, in a few minutes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.data import load_image, open_dataset
from diffuprompt.engine import NULL, Progress
from diffuprompt.hub import Classifier
from diffuprompt.jobs import JobConfig, evaluate_run, train_job

METHODS = (("zero-shot", "none"), ("coop", "none"), ("cocoop", "none"), ("cocoop", "diffusion"))
SEEDS = (1,)
PICTURES = 8
TOP = 3


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A picture as PNG, its true class, and the most probable names."""

    png: bytes
    truth: str
    ranked: tuple[tuple[str, float], ...]


def run_demo(out: Path, progress: Progress = NULL) -> tuple[Path, tuple[Guess, ...]]:
    """Train and score every method on scenes; return the folder of runs and some predictions."""
    runs, newest = out / "runs", out
    for seed in SEEDS:
        for learner, generator in METHODS:
            job = JobConfig(
                data="scenes", learner=learner, generator=generator, seed=seed, runs_dir=runs
            )
            newest = train_job(job, progress)
            evaluate_run(newest, progress=progress)
    return runs, _guesses(newest)


def _guesses(run: Path) -> tuple[Guess, ...]:
    """Classify test pictures of some base and new classes among all names, new ones untrained."""
    manifest = open_dataset("scenes")
    step = max(1, len(manifest.classes) // PICTURES)
    firsts = {item.label: item for item in reversed(manifest.splits["test"])}
    items = [firsts[label] for label in sorted(firsts)][::step][:PICTURES]
    images = [load_image(manifest.root / item.path) for item in items]
    classifier = Classifier.from_pretrained(run).with_classes(manifest.classes)
    best = classifier.predict(images).topk(TOP)
    out = []
    for item, image, values, labels in zip(
        items, images, best.values.tolist(), best.indices.tolist(), strict=True
    ):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        ranked = tuple((manifest.classes[i], p) for i, p in zip(labels, values, strict=True))
        out.append(Guess(png=buffer.getvalue(), truth=manifest.classes[item.label], ranked=ranked))
    return tuple(out)
