"""Prompt-free image features, computed once for every (image, view) and kept on disk.

They do not depend on prompts, so learners without vision prompts never run the image tower again.

Legend: N image, E embedding.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.data.augment import get_augment
from diffuprompt.data.images import View, iterate
from diffuprompt.data.manifest import Item
from diffuprompt.engine.files import read_tensors, write_tensors
from diffuprompt.engine.progress import NULL, Progress
from diffuprompt.engine.seeds import python_stream
from diffuprompt.errors import CheckpointError, DataError
from diffuprompt.stages.budget import Budget

SHARD = 1024  # images a cached file: what an interruption may lose


def cache_root() -> Path:
    """Return the user's cache folder: ``DIFFUPROMPT_CACHE``, else XDG's."""
    own = os.environ.get("DIFFUPROMPT_CACHE")
    if own:
        return Path(own)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "diffuprompt"


class FeatureStore:
    """Features of a data set's images under one frozen CLIP.

    Cached files are named by a hash of the weights, the preprocessing, the view, the root and every
    image's path, size and modification time, so nothing stale is ever read. ``budget`` is the
    memory that whoever asks for features or grids may keep them in.
    """

    def __init__(
        self,
        clip: Clip,
        root: Path,
        *,
        seed: int,
        augment: str = "crop",
        workers: int = 2,
        batch_size: int = 64,
        memory_mib: int = 1024,
        cache: Path | None = None,
        progress: Progress = NULL,
    ) -> None:
        self.clip, self.root, self.seed = clip, root, seed
        self.augment, self._augment = augment, get_augment(augment)
        self.workers, self.batch_size, self.progress = workers, batch_size, progress
        self.budget = Budget(memory_mib)
        self.cache = cache or cache_root() / "features"

    def test(self, items: Sequence[Item]) -> Tensor:
        """Return ``(N, E)`` of the deterministic test view, not normalised."""
        return self._features(items, None)

    def train(self, items: Sequence[Item], view: int) -> Tensor:
        """Return ``(N, E)`` of random view ``view``, made from (seed, image, view)."""
        return self._features(items, view)

    def look(self, view: int | None) -> View:
        """Return what makes a view of a decoded image: the test view for None, or random ones."""
        preprocess = self.clip.preprocess

        def make(image: Image.Image, item: Item) -> Tensor:
            if view is None:
                return preprocess.test_view(image)
            stream = python_stream(self.seed, "augmentation", item.path, view)
            return self._augment(preprocess, image, stream)

        return make

    def _features(self, items: Sequence[Item], view: int | None) -> Tensor:
        parts, missing = [], []
        for start in range(0, len(items), SHARD):
            shard = items[start : start + SHARD]
            path = self.cache / f"{self.key(shard, view)}.safetensors"
            parts.append((shard, path))
            if not path.exists():
                missing.append((shard, path))
        if missing:
            label = "image features" if view is None else f"image features, view {view}"
            with self.progress.task(label, total=sum(len(s) for s, _ in missing)) as task:
                for shard, path in missing:
                    done = []
                    for batch in self._encode(shard, view):
                        done.append(batch)
                        task.advance(len(batch))
                    write_tensors(path, {"features": torch.cat(done)})
        return torch.cat([self._read(path, shard) for shard, path in parts]).to(self.clip.device)

    def _encode(self, items: Sequence[Item], view: int | None) -> Iterator[Tensor]:
        for batch in iterate(items, self.root, self.look(view), self.batch_size, self.workers):
            assert batch.pixels is not None
            with torch.inference_mode():
                yield self.clip.vision(batch.pixels.to(self.clip.device)).float().cpu()

    def _read(self, path: Path, items: Sequence[Item]) -> Tensor:
        advice = "delete the file, it will be computed again"
        try:
            features = read_tensors(path)[0].get("features")
        except CheckpointError as cause:
            raise CheckpointError(f"{cause}; {advice}") from cause
        if features is None or features.shape != (len(items), self.clip.config.embed_dim):
            raise CheckpointError(f"{path}: not the cached features expected here; {advice}")
        return features

    def key(self, items: Sequence[Item], view: int | None) -> str:
        """Return a name for what the tower makes of these files in this view."""
        files = []
        for item in items:
            try:
                stat = (self.root / item.path).stat()
            except OSError as cause:
                raise DataError(
                    f"{self.root / item.path}: cannot be read ({cause.strerror}); restore the file "
                    "or take it out of the data set"
                ) from cause
            files.append([item.path, stat.st_size, stat.st_mtime_ns])
        what = [
            self.clip.weights_hash,
            self.clip.preprocess.hash,
            str(self.clip.logit_scale.dtype) + self._elsewhere(),
            None if view is None else [self.seed, view, self.augment],
            str(self.root.resolve()),  # unpacked archives agree in sizes and times, not in content
            files,
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def _elsewhere(self) -> str:
        """Name the kind of device where it is no CPU: others round differently."""
        kind = self.clip.device.type
        return "" if kind == "cpu" else f" on {kind}"
