"""Train a tiny GLIP from scratch on object labels alone: of the scenes, or of photo collages.

    python -m tools.train_tiny_glip --world scenes --out src/diffuprompt/assets/scenes-glip
    python -m tools.train_tiny_glip --world collages --out src/diffuprompt/assets/collages-glip

The looks that the scenes hold out stay out; no size, extreme or relation is ever said. The
detector of the collages reads the frozen trunk of photo-clip-lite. The learning rate follows a
cosine over the steps. Logs recalls of validation expressions by their root phrases, no prompts.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from diffuprompt.data import COLOURS, EXTREMES, FILLS, SHAPES
from diffuprompt.grounding import (
    PHOTO,
    TINY,
    CaptionTokenizer,
    CollageWorld,
    Glip,
    GlipConfig,
    GlipDetector,
    SceneWorld,
    Span,
    World,
    WorldName,
    cutout_names,
    detections,
    first_hit,
    glip_losses,
    label_caption,
    label_targets,
    load_trunk,
    make_expressions,
    read_cutouts,
    save_detector,
    vocabulary,
)
from diffuprompt.record_expressions import recalls

log = logging.getLogger("tiny-glip")
LR, DECAY, WARMUP, CLIP = 2e-3, 0.05, 50, 1.0
VAL, SCORED = 400, 32  # validation expressions, and how many at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """What differs between the worlds.

    Attributes:
        config: of the detector, but for the number of words.
        labels: all that a caption may say.
        words: of the vocabulary, besides those that expressions add.
        absent: labels of a caption that fit nothing.
        side: pictures are resized to ``side x side``.
        batch: pictures of a step.
        steps: of training.
        pictures: opens the training pictures of a seed.
    """

    config: GlipConfig
    labels: Sequence[str]
    words: Sequence[str]
    absent: int
    side: int
    batch: int
    steps: int
    pictures: Callable[[int], World]


def recipe(world: WorldName) -> Recipe:
    """Return the recipe of a world."""
    if world == "collages":
        names = cutout_names()
        return Recipe(
            config=PHOTO,
            labels=names,
            words=names,
            absent=10,
            side=128,
            batch=16,
            steps=1200,
            pictures=lambda seed: CollageWorld(
                cutouts=read_cutouts("train"), split="train", seed=seed
            ),
        )
    return Recipe(
        config=TINY,
        labels=scene_labels(),
        words=[*SHAPES, *COLOURS, *FILLS],
        absent=3,
        side=64,
        batch=32,
        steps=2400,
        pictures=lambda seed: SceneWorld(split="train", seed=seed),
    )


def scene_labels() -> list[str]:
    """Return every label of the scenes, at every granularity."""
    found = list(SHAPES)
    found += [f"{c} {s}" for c in COLOURS for s in SHAPES]
    found += [f"{f} {s}" for f in FILLS for s in SHAPES]
    found += [f"{c} {f} {s}" for c in COLOURS for f in FILLS for s in SHAPES]
    return found + [f"{word} object" for word in (*COLOURS, *FILLS)]


class Batches:
    """Training batches by number, made in other processes."""

    def __init__(self, world: WorldName, seed: int) -> None:
        self.recipe, self.seed = recipe(world), seed
        self.pictures = self.recipe.pictures(seed)

    def __call__(self, step: int) -> dict[str, Any]:
        """Return pixels, captions and boxes of one training step."""
        rng = Random(f"labels/{self.seed}/{step}")
        absent, size = self.recipe.absent, self.recipe.batch
        pixels, labels, boxes = [], [], []
        for i in range(size):
            picture = self.pictures(step * size + i)
            others = rng.sample(self.recipe.labels, 4 * absent)
            labels.append(label_caption(picture, others, rng, absent=absent))
            pixels.append(np.asarray(picture.image))
            boxes.append(picture.boxes)
        return {"pixels": np.stack(pixels), "labels": labels, "boxes": boxes}


_own: list[Batches] = []  # of a worker


def _open(world: WorldName, seed: int) -> None:
    _own[:] = [Batches(world, seed)]


def _batch(step: int) -> dict[str, Any]:
    return _own[0](step)


def batches(world: WorldName, seed: int, workers: int) -> Iterator[dict[str, Any]]:
    """Yield batches made ahead by other processes."""
    with get_context("spawn").Pool(workers, _open, (world, seed)) as pool:
        ahead = [pool.apply_async(_batch, (k,)) for k in range(4 * workers)]
        step = len(ahead)
        while True:
            yield ahead.pop(0).get()
            ahead.append(pool.apply_async(_batch, (step,)))
            step += 1


def tensor(pixels: np.ndarray, side: int) -> torch.Tensor:
    """Return ``(B, 3, side, side)`` in 0..1."""
    found = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
    if found.shape[-1] == side:
        return found
    return functional.interpolate(found, (side, side), mode="bilinear", antialias=True)


def score(
    model: Glip, tokenizer: CaptionTokenizer, world: WorldName, side: int, count: int
) -> dict[str, dict[str, float]]:
    """Return recalls of validation expressions by root phrase, and by it without an extreme."""
    model.eval()
    made = make_expressions(world, "val", seed=0, count=count)
    ranks: dict[str, list[int]] = {"root": [], "label": []}
    for first in range(0, count, SCORED):
        rows = range(first, min(first + SCORED, count))
        batch = made.batch(rows, side)
        tokens = tokenizer(batch.texts)
        with torch.inference_mode():
            raw = model(batch.pixels, tokens.ids, tokens.mask)
        for i, (text, root) in enumerate(zip(batch.texts, batch.roots, strict=True)):
            for name, span in (("root", root), ("label", _label(text, root))):
                found = detections(
                    raw,
                    i,
                    tokens.of_span(i, span),
                    (side, side),
                    plus=model.config.plus,
                    min_score=0.0,
                )
                ranks[name].append(first_hit(found.boxes, batch.boxes[i]))
    model.train()
    return {k: {n: round(v, 1) for n, v in recalls(one).items()} for k, one in ranks.items()}


def _label(text: str, root: Span) -> Span:
    """Return the root phrase without the extreme that may begin it."""
    start, end = root
    first = text[start:end].split()[0]
    return (start + len(first) + 1, end) if first in EXTREMES else root


def main() -> None:
    """Train, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=("scenes", "collages"), default="scenes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--side", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(args.seed)
    chosen = recipe(args.world)
    steps, side = args.steps or chosen.steps, args.side or chosen.side
    tokenizer = vocabulary(chosen.words)
    config = chosen.config
    config = replace(
        config,
        bert=replace(config.bert, vocab_size=tokenizer.vocab_size),
        anchors=tuple(size * side / chosen.side for size in config.anchors),
    )
    model = initialised(Glip(config, load_trunk(config.trunk) if config.trunk else None))
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=LR, weight_decay=DECAY)
    start, cpu = time.monotonic(), time.process_time()
    for step, made in enumerate(islice(batches(args.world, args.seed, args.workers), steps)):
        rate = min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = LR * rate
        tokens = tokenizer([one.text for one in made["labels"]])
        pixels = tensor(made["pixels"], side)
        if not step:
            standardise(model, pixels)
        raw = model(pixels, tokens.ids, tokens.mask)
        targets = label_targets(tokens, made["labels"])
        scale = side / made["pixels"].shape[1]
        boxes = [torch.from_numpy(b) * scale for b in made["boxes"]]
        terms = glip_losses(raw, tokens.mask, boxes, targets, plus=config.plus)
        optimiser.zero_grad()
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(learned, CLIP)
        optimiser.step()
        if step % 50 == 49:
            shown = "  ".join(f"{k} {v.item():.3f}" for k, v in terms.items())
            taken, used = time.monotonic() - start, time.process_time() - cpu
            log.info("step %d  %.0f s (%.0f s of CPU)  %s", step + 1, taken, used, shown)
        if step % 400 == 399:
            log.info("expressions: %s", score(model, tokenizer, args.world, side, 150))
    log.info("expressions: %s", score(model, tokenizer, args.world, side, VAL))
    found = GlipDetector(model, tokenizer, name=args.out.name, side=side)
    save_detector(found, args.out)


def initialised(model: Glip) -> Glip:
    """Return the model with small normal weights in its towers and head; a trunk's stay."""
    for name, parameter in model.named_parameters():
        if name.startswith("trunk."):
            continue
        if parameter.ndim == 4 and "head" in name:
            torch.nn.init.normal_(parameter, std=0.01)
        elif parameter.ndim == 2 and ("body" in name or "language" in name):
            torch.nn.init.trunc_normal_(parameter, std=0.02 if "embed" not in name else 0.1)
    return model


@torch.no_grad()
def standardise(model: Glip, pixels: torch.Tensor) -> None:
    """Let the tower begin with a trunk's channels centred and of unit deviation.

    Both go into the weights of its first projection, which is linear, and are learned from there.
    """
    if model.trunk is None:
        return
    maps = model.trunk(model.normalised(pixels))
    mean, std = maps.mean((0, 2, 3)), maps.std((0, 2, 3))
    proj = model.body.patch_embed.proj
    assert proj.bias is not None
    proj.weight.div_(std[:, None, None])
    proj.bias.sub_(proj.weight.sum((2, 3)) @ mean)


if __name__ == "__main__":
    main()
