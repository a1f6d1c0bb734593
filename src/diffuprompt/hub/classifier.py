"""Classify pictures with a saved artifact, in three lines of Python.

Legend: N image, C class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data.images import ImageBatch, load_image
from diffuprompt.data.manifest import prompt_name
from diffuprompt.engine.device import pick
from diffuprompt.errors import DataError
from diffuprompt.hub.artifact import Artifact, load_artifact
from diffuprompt.learners.classes import Classes

Picture = str | Path | Image.Image


class Classifier:
    """Names and probabilities for pictures, by generated prompts where there is a generator."""

    def __init__(self, artifact: Artifact, classes: Sequence[str] | None = None) -> None:
        self._artifact = artifact
        names = artifact.description.classes if classes is None else classes
        self._classes = Classes(names)
        self._text: Tensor | None = None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, backbone: str | None = None, device: str = "auto"
    ) -> Classifier:
        """Load an artifact folder; see `load_artifact` for what is refused."""
        folder = Path(folder)
        inside = folder / "artifact"  # a run folder is welcome too
        folder = inside if (inside / "artifact.json").is_file() else folder
        return cls(load_artifact(folder, backbone=backbone, device=pick(device)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names being told apart."""
        return self._classes.names

    def with_classes(self, names: Sequence[str]) -> Classifier:
        """Return a classifier of other names on the same prompts; no training.

        Raises:
            DataError: no names, or names that the text tower cannot tell apart.
        """
        if isinstance(names, str):
            raise DataError(f"expected a list of class names, got the text {names!r}")
        counts = Counter(map(prompt_name, names))
        same = [name for name in names if counts[prompt_name(name)] > 1]
        if same:
            raise DataError(f"class names must differ in more than case, '_' and spaces: {same}")
        return Classifier(self._artifact, names)

    def __call__(self, picture: Picture) -> dict[str, float]:
        """Return name -> probability of one picture, the most probable first."""
        (row,) = self.predict([picture]).tolist()
        ranked = sorted(zip(self.classes, row, strict=True), key=lambda pair: -pair[1])
        return dict(ranked)

    def predict(self, pictures: Sequence[Picture], batch_size: int = 32) -> Tensor:
        """Return probabilities ``(N, C)``; raises `DataError` naming a file that cannot be read."""
        if not pictures:
            raise DataError("no pictures to classify; give at least one")
        rows = [self._logits(batch).softmax(1) for batch in self._batches(pictures, batch_size)]
        return torch.cat(rows).cpu()

    def _batches(self, pictures: Sequence[Picture], size: int) -> Iterator[ImageBatch]:
        preprocess, device = self._artifact.clip.preprocess, self._artifact.clip.device
        for start in range(0, len(pictures), size):
            chunk = pictures[start : start + size]
            # alpha is dropped as in training; preprocessing would lay it on white
            images = [
                p.convert("RGB") if isinstance(p, Image.Image) else load_image(Path(p))
                for p in chunk
            ]
            pixels = torch.stack([preprocess.test_view(image) for image in images])
            yield ImageBatch(pixels.to(device), None, torch.arange(len(chunk), device=device))

    @torch.inference_mode()
    def _logits(self, images: ImageBatch) -> Tensor:
        learner, generator = self._artifact.learner, self._artifact.generator
        images = replace(images, pixels=None, grid=learner.grid(images))
        if generator is not None or learner.needs.features:
            images = replace(images, features=learner.features(images))
        if generator is None:
            if self._text is None and not learner.own_prompts_need_image:
                self._text = learner.static_text(self._classes)
            return learner.logits(images, self._classes, text=self._text)
        features = learner.features(images)
        own = learner.spec.pack(learner.prompts(features))
        flat = generator.sample(features, own)
        return learner.logits(images, self._classes, learner.spec.unpack(flat))
