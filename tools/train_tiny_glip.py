"""Train the tiny GLIP of the scenes world from scratch on object labels alone.

    python -m tools.train_tiny_glip --out src/diffuprompt/assets/scenes-glip --steps 2400

The looks that the world holds out stay out. The learning rate follows a cosine over the steps.
Prints recalls of labels and of expressions on validation pictures, without prompts.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from diffuprompt.data import COLOURS, FILLS, SHAPES
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.folder import save_detector
from diffuprompt.grounding.detectors.glip import TINY, Glip
from diffuprompt.grounding.detectors.inference import detections
from diffuprompt.grounding.detectors.losses import glip_losses
from diffuprompt.grounding.metrics import first_hit, recalls
from diffuprompt.grounding.worlds.labels import label_caption, label_targets, vocabulary
from diffuprompt.grounding.worlds.scenes import labelled_scene, scene_picture

log = logging.getLogger("tiny-glip")
BATCH, LR, DECAY, WARMUP, CLIP = 32, 2e-3, 0.05, 50, 1.0
VAL = 400


def all_labels() -> list[str]:
    """Return every label of the world, at every granularity."""
    found = list(SHAPES)
    found += [f"{c} {s}" for c in COLOURS for s in SHAPES]
    found += [f"{f} {s}" for f in FILLS for s in SHAPES]
    found += [f"{c} {f} {s}" for c in COLOURS for f in FILLS for s in SHAPES]
    return found + [f"{word} object" for word in (*COLOURS, *FILLS)]


def batch(seed: int, step: int) -> dict[str, Any]:
    """Return pixels, captions and boxes of one training step."""
    rng, others = Random(f"labels/{seed}/{step}"), all_labels()
    pixels, labels, boxes = [], [], []
    for i in range(BATCH):
        picture = labelled_scene("train", seed, step * BATCH + i)
        labels.append(label_caption(picture, rng.sample(others, 12), rng))
        pixels.append(np.asarray(picture.image))
        boxes.append(picture.boxes)
    return {"pixels": np.stack(pixels), "labels": labels, "boxes": boxes}


def batches(seed: int, workers: int) -> Iterator[dict[str, Any]]:
    """Yield batches made ahead by other processes."""
    with get_context("spawn").Pool(workers) as pool:
        ahead = [pool.apply_async(batch, (seed, k)) for k in range(4 * workers)]
        step = len(ahead)
        while True:
            yield ahead.pop(0).get()
            ahead.append(pool.apply_async(batch, (seed, step)))
            step += 1


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return ``(B, 3, H, W)`` in 0..1."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255


def score(model: Glip, tokenizer: CaptionTokenizer, count: int) -> dict[str, float]:
    """Return recalls of validation expressions by their root phrases."""
    model.eval()
    ranks = []
    for i in range(count):
        picture, referent = scene_picture("val", 0, i)
        if referent is None:
            continue
        tokens = tokenizer([referent.text])
        with torch.inference_mode():
            raw = model(tensor(np.asarray(picture.image)[None]), tokens.ids, tokens.mask)
        found = detections(
            raw, 0, tokens.of_span(0, referent.root), (64, 64), plus=model.config.plus
        )
        ranks.append(first_hit(found.boxes, torch.from_numpy(picture.boxes[referent.target])))
    model.train()
    return recalls(ranks)


def main() -> None:
    """Train, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(args.seed)
    tokenizer = vocabulary([*SHAPES, *COLOURS, *FILLS])
    bert = replace(TINY.bert, vocab_size=tokenizer.vocab_size)
    model = initialised(Glip(replace(TINY, bert=bert)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
    start = time.monotonic()
    for step, made in enumerate(islice(batches(args.seed, args.workers), args.steps)):
        share = step / args.steps
        rate = min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = LR * rate
        tokens = tokenizer([one.text for one in made["labels"]])
        raw = model(tensor(made["pixels"]), tokens.ids, tokens.mask)
        targets = label_targets(tokens, made["labels"])
        boxes = [torch.from_numpy(b) for b in made["boxes"]]
        terms = glip_losses(raw, tokens.mask, boxes, targets, plus=model.config.plus)
        optimiser.zero_grad()
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        if step % 50 == 49:
            shown = "  ".join(f"{k} {float(v):.3f}" for k, v in terms.items())
            log.info("step %d  %.0f s  %s", step + 1, time.monotonic() - start, shown)
        if step % 400 == 399:
            log.info("expressions: %s", score(model, tokenizer, 150))
    log.info("expressions: %s", score(model, tokenizer, VAL))
    save_detector(model, tokenizer, args.out)


def initialised(model: Glip) -> Glip:
    """Return the model with small normal weights in its towers and head."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4 and "head" in name:
            torch.nn.init.normal_(parameter, std=0.01)
        elif parameter.ndim == 2 and ("body" in name or "language" in name):
            torch.nn.init.trunc_normal_(parameter, std=0.02 if "embed" not in name else 0.1)
    return model


if __name__ == "__main__":
    main()
