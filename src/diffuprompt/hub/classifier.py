"""Classify pictures with a saved artifact, in three lines of Python.

Legend: M draw, N image, B image of a batch, C class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.checkpoints import AUTO, choose_backbone, load_clip
from diffuprompt.clip import SINGLE
from diffuprompt.data import ImageBatch, load_image, name_problems, to_pixels
from diffuprompt.engine import NULL, Progress, Tally, pick
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.hub.artifact import Artifact, describe, load_artifact
from diffuprompt.hub.calibration import Calibration
from diffuprompt.hub.predictive import Predictive, joined, predictive
from diffuprompt.learners import UNTRAINED, Classes, build_learner

Picture = str | Path | Image.Image


@dataclass(frozen=True, eq=False)
class Recognised:
    """What is in N pictures.

    Attributes:
        probabilities: ``(N, C)``, at the artifact's temperature where it has one.
        none_of_these: ``(N,)``, whether a picture shows none of the names; None where the artifact
            has no threshold for these names.
        drawn: what several draws say, where they were asked for.
    """

    probabilities: Tensor
    none_of_these: Tensor | None
    drawn: Predictive | None


class Classifier:
    """Names and probabilities for pictures, by generated prompts where there is a generator."""

    def __init__(
        self, artifact: Artifact, classes: Sequence[str] | None = None, *, source: str = ""
    ) -> None:
        """Wrap an artifact; ``source`` is what error messages call it."""
        self._artifact = artifact
        self._source = source or f"this {artifact.learner.name} classifier"
        names = artifact.description.classes if classes is None else classes
        self._classes = Classes(names)
        if classes is not None:
            artifact.learner.tokens(self._classes)  # names too long are told before any picture
        self._text: Tensor | None = None
        mine = self._classes.names == artifact.description.classes
        self._calibration = artifact.description.calibration if mine else None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, backbone: str | None = None, device: str = "auto"
    ) -> Classifier:
        """Load an artifact folder; see `load_artifact` for what is refused."""
        folder = Path(folder)
        inside = folder / "artifact"  # a run folder is welcome too
        folder = inside if (inside / "artifact.json").is_file() else folder
        artifact = load_artifact(folder, backbone=backbone, device=pick(device))
        return cls(artifact, source=str(folder))

    @classmethod
    def zero_shot(
        cls,
        names: Sequence[str],
        *,
        backbone: str = AUTO,
        template: str = SINGLE,
        device: str = "auto",
    ) -> Classifier:
        """Return a classifier of any names with a sentence as the prompt and nothing learned.

        Args:
            names: to choose from.
            backbone: as `load_clip` takes it; "auto" for the best CLIP at hand, see
                `choose_backbone`.
            template: the sentence, with {} for the name.
            device: where it runs.

        Raises:
            DataError: no names, or names that the text tower cannot tell apart.
            ConfigError: no {} in the template.
            CheckpointError: there is no such backbone.
        """
        checked = Classes(_checked(names)).names  # before anything is loaded
        name = choose_backbone().name if backbone == AUTO else backbone
        clip = load_clip(name, device=pick(device))
        learner = build_learner(UNTRAINED, clip, {"templates": [template]})
        found = Artifact(describe(learner, checked), clip, learner.requires_grad_(False), None)
        return cls(found, source=f"{learner.name} with {found.description.backbone}")

    @property
    def artifact(self) -> Artifact:
        """The learner, the generator and the CLIP that answer."""
        return self._artifact

    @property
    def backbone(self) -> str:
        """The name of its CLIP."""
        return self._artifact.description.backbone

    @property
    def calibration(self) -> Calibration | None:
        """Temperature and threshold; None for other names than those it was fitted for."""
        return self._calibration

    @property
    def classes(self) -> tuple[str, ...]:
        """The names to choose from."""
        return self._classes.names

    def with_classes(self, names: Sequence[str]) -> Classifier:
        """Return a classifier of other names on the same prompts; no training.

        Raises:
            DataError: no names, or names that the text tower cannot tell apart.
        """
        return Classifier(self._artifact, _checked(names), source=self._source)

    def __call__(self, picture: Picture) -> dict[str, float]:
        """Return name -> probability of one picture, the most probable first."""
        (row,) = self.predict([picture]).tolist()
        ranked = sorted(zip(self.classes, row, strict=True), key=lambda pair: -pair[1])
        return dict(ranked)

    @overload
    def predict(
        self, pictures: Sequence[Picture], batch_size: int = 32, *, progress: Progress = NULL
    ) -> Tensor: ...

    @overload
    def predict(
        self,
        pictures: Sequence[Picture],
        batch_size: int = 32,
        *,
        samples: int,
        progress: Progress = NULL,
    ) -> Predictive: ...

    def predict(
        self,
        pictures: Sequence[Picture],
        batch_size: int = 32,
        *,
        samples: int | None = None,
        progress: Progress = NULL,
    ) -> Tensor | Predictive:
        """Return probabilities ``(N, C)``; with ``samples``, what so many draws of prompts say.

        Args:
            pictures: N files or pictures.
            batch_size: pictures at once; changes memory, speed and roundings (below 1e-5).
            samples: draws of the generator's noise for each picture, the first being the one that
                is used without ``samples``. Names are encoded anew for every draw and picture.
            progress: counts pictures times draws.

        Raises:
            DataError: no pictures, or a file that cannot be read, by name.
            CheckpointError: an answer is no finite number.
            ConfigError: ``samples`` of an artifact that has nothing to draw from.
        """
        found, drawn = self._answers(pictures, batch_size, samples, progress)
        return found.probabilities if drawn is None else drawn

    def recognise(
        self,
        pictures: Sequence[Picture],
        batch_size: int = 32,
        *,
        samples: int | None = None,
        progress: Progress = NULL,
    ) -> Recognised:
        """Return probabilities, and which pictures show none of the names; else as `predict`."""
        return self._answers(pictures, batch_size, samples, progress)[0]

    def _answers(
        self, pictures: Sequence[Picture], batch_size: int, samples: int | None, progress: Progress
    ) -> tuple[Recognised, Predictive | None]:
        if not pictures:
            raise DataError("no pictures to classify; give at least one")
        if samples is not None:
            self._check(samples)
        draws = range(samples or 1)
        fitted = self._calibration
        parts, strange = list[Tensor](), list[Tensor]()
        with progress.task("predicting", total=len(pictures) * len(draws)) as task:
            for batch in self._batches(pictures, batch_size):
                logits = self._logits(batch, draws, task)
                if fitted is not None:
                    strange.append(fitted.is_none_of_these(logits).cpu())
                    logits = logits / fitted.temperature
                found = logits.softmax(2)
                self._check_finite(found, pictures, start=sum(p.shape[1] for p in parts))
                parts.append(found)
        none = torch.cat(strange) if strange else None
        if samples is None:
            return Recognised(torch.cat([part[0] for part in parts]).cpu(), none, None), None
        drawn = joined([predictive(part) for part in parts])
        return Recognised(drawn.probabilities, none, drawn), drawn

    def _check(self, samples: int) -> None:
        generator = self._artifact.generator
        if samples < 1:
            raise ConfigError(f"samples: expected at least 1, got {samples}")
        if generator is None:
            raise ConfigError(
                f"samples: this artifact holds the prompts of {self._artifact.learner.name} and no "
                "generator, so there is one answer per picture; leave samples out, or train with "
                "--generator diffusion"
            )
        if not generator.num_noise:
            raise ConfigError(
                f"samples: the generator {generator.name!r} draws no noise, so all answers would "
                "be equal; leave samples out, or train with --generator diffusion"
            )

    def _check_finite(self, found_MBC: Tensor, pictures: Sequence[Picture], *, start: int) -> None:
        bad = ~found_MBC.isfinite().all(2).all(0)
        if bad.any():
            number = start + int(bad.nonzero()[0])
            picture = pictures[number]
            name = f"picture {number + 1}" if isinstance(picture, Image.Image) else str(picture)
            raise CheckpointError(
                f"{self._source}: answers {name} with numbers that are not finite; the artifact or "
                f"its backbone {self.backbone!r} is damaged: copy it again, or train again"
            )

    def _batches(self, pictures: Sequence[Picture], size: int) -> Iterator[ImageBatch]:
        preprocess, device = self._artifact.clip.preprocess, self._artifact.clip.device
        for start in range(0, len(pictures), size):
            chunk = pictures[start : start + size]
            # alpha is dropped as in training; preprocessing would lay it on white
            images = [
                to_pixels(p, f"picture {i}") if isinstance(p, Image.Image) else load_image(Path(p))
                for i, p in enumerate(chunk, start)
            ]
            pixels = torch.stack([preprocess.test_view(image) for image in images])
            yield ImageBatch(pixels.to(device), None, torch.arange(len(chunk), device=device))

    @torch.inference_mode()
    def _logits(self, images: ImageBatch, draws: range, task: Tally) -> Tensor:
        """Return ``(M, B, C)``; what does not depend on the draw is computed once."""
        learner, generator = self._artifact.learner, self._artifact.generator
        images = replace(images, pixels=None, grid=learner.grid(images))
        if generator is not None or learner.needs.features:
            images = replace(images, features=learner.features(images))
        if generator is None:
            if self._text is None and not learner.own_prompts_need_image:
                self._text = learner.static_text(self._classes)
            rows = [learner.logits(images, self._classes, text=self._text)]
            task.advance(len(rows[0]))
            return torch.stack(rows)
        features, rows = learner.features(images), []
        own = learner.spec.pack(learner.prompts(features))
        for draw in draws:
            prompts = learner.spec.unpack(generator.sample(features, own, draw=draw))
            rows.append(learner.logits(images, self._classes, prompts))
            task.advance(len(rows[0]))
        return torch.stack(rows)


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise DataError(f"expected a list of class names, got the text {names!r}")
    problems = name_problems(names)
    if problems:
        raise DataError("\n  ".join(["class names", *problems]))
    return tuple(names)
