"""The stage "score": one way of making prompts on one set of test images, batch by batch.

What is kept of an image is its answer; its prompts, features and logits live as long as its batch.

Legend: B image of a batch, C class, E embedding, F flat, N all images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from diffuprompt.data import ImageBatch, Needs
from diffuprompt.engine import write_json
from diffuprompt.errors import CheckpointError
from diffuprompt.learners import Classes
from diffuprompt.prompts import Prompts
from diffuprompt.reading import read_json
from diffuprompt.record import pack_hits
from diffuprompt.runs import Stage, StageFolder, Store, Values, read_sealed, write_sealed
from diffuprompt.stages.bench import Bench
from diffuprompt.stages.flat_prompts import Prompted, own_of
from diffuprompt.stages.image_set import ahead
from diffuprompt.stages.metrics import Answers, measures

VERSION = 1
RESULT, ANSWERS = "score.json", "answers.safetensors"
BATCH = 64


class Images(Protocol):
    """What is scored: N images in an order."""

    @property
    def classes(self) -> Classes:
        """What the labels count."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """Labels ``(N,)``."""

    def rows(self, index: Tensor) -> Tensor:
        """Prompt-free features ``(B, E)`` at positions ``(B,)``."""

    def batch(self, index: Tensor, *, needs: Needs) -> ImageBatch:
        """Return images with what ``needs`` names."""

    def warm(self, needs: Needs) -> None:
        """Compute ahead of the clock what does not depend on prompts."""


class Scored(Prompted, Protocol):
    """What answers: a learner, or what stands in its place."""

    @property
    def needs(self) -> Needs:
        """What of an image `logits` reads."""

    def static_text(self, classes: Classes) -> Tensor | None:
        """Text that does not depend on the image; None where there is none."""

    def logits(
        self, images: ImageBatch, classes: Classes, prompts: Prompts | None, text: Tensor | None
    ) -> Tensor:
        """Return ``(B, C)``."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What prompts are made for: positions ``(B,)``, features ``(B, E)``, V0 ``(B, F)``."""

    index: Tensor
    features: Tensor
    initial: Tensor


Maker = Callable[[Ask], Tensor]
"""Returns the source prompts ``(B, F)`` of a batch."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was scored: measures, hits packed for the record, wall milliseconds per image."""

    metrics: dict[str, float]
    hits: str
    total: int
    timings: dict[str, float]
    seconds: float


def score_stage(
    *, variant: Mapping[str, Any], config: Mapping[str, Any], inputs: Mapping[str, str]
) -> Stage:
    """Return the stage of a score.

    Args:
        variant: how the prompts are made.
        config: further settings that the result depends on: precision, the seed of a control, the
            settings of the oracle.
        inputs: "test" images, "learner", "backbone", and where they count "generator", "sampler"
            and "targets".
    """
    values = {"variant": dict(variant), "batch": BATCH, **config}
    return Stage(name="score", version=VERSION, config=values, inputs=inputs)


def scored(
    bench: Bench,
    store: Store,
    stage: Stage,
    learner: Scored,
    images: Images,
    makers: Callable[[], Sequence[Maker]],
    label: str,
) -> Result:
    """Return the score of a stage; computed here where nobody has yet.

    Args:
        bench: what shows progress, and how often work is saved.
        store: where it is kept.
        stage: see `score_stage`.
        learner: frozen.
        images: the test set.
        makers: returns what makes the prompts, called only where there is something to compute;
            several are draws, whose probabilities are averaged; none score the learner's own.
        label: what is scored, for people.
    """

    def make(folder: StageFolder) -> Values:
        return _Scoring(bench, folder, learner, images, makers(), label).run()

    folder = store.made(stage, make)
    data = read_json(folder.check(RESULT))
    try:
        return Result(**data, seconds=folder.values()["seconds"])
    except (KeyError, TypeError) as cause:
        raise CheckpointError(f"{folder.path}: not a score; delete the folder") from cause


class _Scoring:
    """One pass over the test images; killed, it goes on behind the last saved batch."""

    def __init__(
        self,
        bench: Bench,
        folder: StageFolder,
        learner: Scored,
        images: Images,
        makers: Sequence[Maker],
        label: str,
    ) -> None:
        self.bench, self.folder, self.learner = bench, folder, learner
        self.images, self.makers, self.label = images, makers, label
        self.answers = Answers.empty(len(images))
        self.done, self.generating, self.classifying = 0, 0.0, 0.0

    def run(self) -> Values:
        count, device = len(self.images), self.images.labels.device
        self._resume()
        needs = self.learner.needs | Needs(features=bool(self.makers))
        self.images.warm(needs)
        start = _now(device)
        text = None if self.makers else self._own_text()
        self.classifying += _now(device) - start
        saved_at = time.monotonic()
        batches = torch.arange(self.done, count).split(BATCH) if self.done < count else ()
        with self.bench.progress.task(self.label, total=count - self.done) as task:
            for index, batch in ahead(lambda at: self.images.batch(at, needs=needs), batches):
                logits = self._logits(index, batch, text, device)
                self.answers.put(self.done, logits, self.images.labels[index])
                self.done += len(index)
                task.advance(len(index))
                if time.monotonic() - saved_at >= self.bench.save_every_s:
                    self._save()
                    saved_at = time.monotonic()
        timings = {"classify_ms": 1000 * self.classifying / count}
        if self.makers:
            timings["generate_ms"] = 1000 * self.generating / count
        hits = pack_hits((self.answers.predicted == self.images.labels.cpu()).tolist())
        metrics = measures(self.answers, self.images.labels)
        result = {"metrics": metrics, "hits": hits, "total": count, "timings": timings}
        write_json(self.folder.path / RESULT, result)
        return {"seconds": self.generating + self.classifying}

    @torch.inference_mode()
    def _own_text(self) -> Tensor | None:
        """Text that does not depend on the image is encoded once per test set, inside the clock."""
        return self.learner.static_text(self.images.classes)

    def _logits(
        self, index: Tensor, batch: ImageBatch, text: Tensor | None, device: torch.device
    ) -> list[Tensor]:
        learner, out = self.learner, []
        ask = None
        if self.makers:
            assert batch.features is not None
            ask = Ask(index, batch.features, own_of(learner, batch.features))
        for make in self.makers or (None,):
            start = _now(device)
            flat = None if make is None or ask is None else make(ask).detach()
            middle = _now(device)
            with torch.inference_mode():
                prompts = None if flat is None else learner.spec.unpack(flat)
                out.append(learner.logits(batch, self.images.classes, prompts, text))
            self.generating += middle - start
            self.classifying += _now(device) - middle
        return out

    def _save(self) -> None:
        told = {"done": str(self.done), "seconds": f"{self.generating} {self.classifying}"}
        write_sealed(self.folder.work / ANSWERS, vars(self.answers), told)

    def _resume(self) -> None:
        path = self.folder.work / ANSWERS
        sealed = read_sealed(path)
        if sealed is None:
            return
        tensors, told = sealed
        if tensors["predicted"].shape != self.answers.predicted.shape:
            raise CheckpointError(f"{path}: of another test set; delete {self.folder.path}")
        self.answers = Answers(**tensors)
        self.done = int(told["done"])
        spent = told["seconds"].split()  # a third number where names were judged, which is gone
        self.generating, self.classifying = map(float, spent[:2])


def _now(device: torch.device) -> float:
    """Return the clock after what the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
