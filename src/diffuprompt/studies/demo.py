"""The demo: the whole line on the bundled world and the bundled backbone, in a few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from diffuprompt.data import load_image, open_dataset
from diffuprompt.engine import NULL, Progress
from diffuprompt.hub import Classifier
from diffuprompt.jobs import JobConfig, evaluate_run, train_job
from diffuprompt.pictures import GENERATED, PictureView, map_of, png, view_pictures

METHODS = (("zero-shot", "none"), ("coop", "none"), ("cocoop", "none"), ("cocoop", "diffusion"))
SEEDS = (1,)
PICTURES = 8
TOP = 3


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A picture as PNG, its true class, the most probable names, and what is seen of its prompts.

    ``maps`` are PNGs by the kind of prompts: where the logit of the most probable name comes from.
    ``words`` are lines, each a prompt vector's nearest words.
    """

    png: bytes
    truth: str
    ranked: tuple[tuple[str, float], ...]
    maps: dict[str, bytes]
    words: tuple[str, ...]


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
    classifier = Classifier.from_pretrained(run)
    views = view_pictures(classifier.artifact, images, classes=manifest.classes, most=TOP)
    rows = zip(items, images, views, strict=True)
    return tuple(_guess(manifest.classes[item.label], image, view) for item, image, view in rows)


def _guess(truth: str, image: Image.Image, view: PictureView) -> Guess:
    """Return what the page shows of one picture, by the prompts that were generated for it."""
    shown = view.prompts[GENERATED]
    return Guess(
        png=png(image),
        truth=truth,
        ranked=shown.guesses,
        maps={kind: png(map_of(view, kind)) for kind in view.prompts},
        words=tuple(shown.words.lines()),
    )
