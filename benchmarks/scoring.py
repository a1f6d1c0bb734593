"""Memory of scoring: does it grow with the number of test images?

    python -m benchmarks.scoring --json

Scores a stub learner with as many prompt numbers per image as PromptSRC has on ViT-B/16 (9 layers x
4 tokens x (512 + 768) = 46,080) on 1,000 and on 50,000 test images, each in a process of its own:
generated prompts, a control, and the oracle with one step, which costs several times as much and so
gets a tenth of the images (together its prompts would still take 0.9 GB). The towers are two small
layers and pictures are drawn when they are asked for, so that what is left is what scoring itself
holds. ``peak_growth_mib`` is the difference of the peaks of resident memory. The processes are told
to keep memory that was freed (glibc), which can only raise the peaks and saves time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffuprompt.clip import Clip, ClipConfig, PromptedTokens, TextConfig, TextPlan, VisionConfig
from diffuprompt.data import ImageBatch, Needs, Preprocess
from diffuprompt.engine import NULL, peak_memory_mib
from diffuprompt.generators import OverfitConfig, PromptPairs
from diffuprompt.learners import Classes, Learner, Options
from diffuprompt.prompts import Prompts, PromptSpec, Slot, TowerPrompts
from diffuprompt.runs import Stage, Store
from diffuprompt.stages import Ask, Bench, Maker, control_prompts, oracle_prompts, scored

SIZES = (1_000, 50_000)
KEEPING = os.environ | {
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
LAYERS, LENGTH, TEXT, VISION = 9, 4, 512, 768  # of PromptSRC on ViT-B/16
WIDTH, SIDE, PATCH, CLASSES, TRAIN = 32, 32, 16, 4, 32


class Words:
    """A tokenizer that knows ten digits."""

    sot, eot, pad, vocab_size = 10, 11, 11, 12

    def encode(self, text: str) -> list[int]:
        """Return the digits of a text."""
        return [int(c) for c in text if c.isdigit()] or [0]

    def vocabulary(self) -> dict[str, int]:
        """Return every token with its id."""
        return {str(i): i for i in range(self.vocab_size)}

    def to_bytes(self) -> bytes:
        """Return nothing: this one is never saved."""
        return b""


class Wide(Learner):
    """As many prompts as PromptSRC has, of which two small layers read the first numbers."""

    name = "wide"

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip, Options())
        stream = torch.Generator().manual_seed(1)
        self.flat = torch.nn.Parameter(0.02 * torch.randn(1, self.spec.size, generator=stream))

    @property
    def spec(self) -> PromptSpec:
        """Slots of the true sizes."""
        slots = [
            Slot(name=f"{tower}.{layer}", tower=tower, layer=layer, length=LENGTH, width=width)
            for tower, width in (("text", TEXT), ("vision", VISION))
            for layer in range(LAYERS)
        ]
        return PromptSpec(tuple(slots))

    def prompts(self, features_BE: Tensor) -> Prompts:
        """Return the learner's own, the same for every image."""
        return self.spec.unpack(self.flat)

    def tokens(self, classes: Classes) -> PromptedTokens:
        """Return the names behind four prompts."""
        return classes.tokens(self.clip, prefix=None, num_ctx=LENGTH)

    def render(self, prompts: Prompts) -> TowerPrompts:
        """Cut the slots of two layers to the width of the stub towers."""
        cut = {name: t[..., :WIDTH] for name, t in prompts.items()}
        return TowerPrompts(
            {layer: cut[f"text.{layer}"] for layer in range(2)},
            {layer: cut[f"vision.{layer}"] for layer in range(2)},
        )


class OnDemand:
    """Test images whose grids and features are drawn when they are asked for."""

    def __init__(self, count: int, clip: Clip) -> None:
        self.count, self.clip = count, clip
        self.classes = Classes([str(i) for i in range(CLASSES)])
        self.labels = torch.arange(count) % CLASSES

    def __len__(self) -> int:
        return self.count

    def _grids(self, index: Tensor) -> Tensor:
        stream = torch.Generator().manual_seed(int(index[0]))
        return torch.randn(len(index), 3, SIDE, SIDE, generator=stream)

    def rows(self, index: Tensor) -> Tensor:
        """Features of drawn pictures."""
        with torch.no_grad():
            return self.clip.vision.from_grid(self._grids(index))

    def batch(self, index: Tensor, *, needs: Needs) -> ImageBatch:
        """Drawn pictures."""
        features = self.rows(index) if needs.features else None
        grid = self._grids(index) if needs.grid else None
        return ImageBatch(None, self.labels[index], index, features, grid)

    def warm(self, needs: Needs) -> None:
        """Nothing can be computed ahead: nothing is kept."""


def stub_clip() -> Clip:
    """Return random towers of two small layers."""
    words = Words()
    text = TextConfig(
        width=WIDTH, layers=2, heads=2, mlp_width=2 * WIDTH, vocab_size=words.vocab_size,
        context_length=16, sot=words.sot, eot=words.eot, pad=words.pad,
    )  # fmt: skip
    vision = VisionConfig(
        width=WIDTH, layers=2, heads=2, mlp_width=2 * WIDTH, image_size=SIDE, patch_size=PATCH
    )
    torch.manual_seed(0)
    config = ClipConfig(text=text, vision=vision, embed_dim=32)
    clip = Clip(config, words, Preprocess.for_size(SIDE), weights_hash="stub")
    with torch.no_grad():
        clip.logit_scale.fill_(math.log(20.0))
    return clip.freeze()


def measure(count: int) -> dict[str, float]:
    """Score every way of making prompts on ``count`` images; return seconds and the peak."""
    clip = stub_clip()
    learner = Wide(clip).requires_grad_(False).eval()
    images: Any = OnDemand(count, clip)
    fewer: Any = OnDemand(max(count // 10, 1), clip)
    stream = torch.Generator().manual_seed(2)
    residual = 0.01 * torch.randn(TRAIN, learner.spec.size, generator=stream)
    initial = learner.flat.detach().expand(TRAIN, -1)
    features = images.rows(torch.arange(TRAIN))
    pairs = PromptPairs(features, initial, initial + residual)
    bench = Bench(clip=clip, train=images, plan=TextPlan(), progress=NULL)

    def generated(ask: Ask) -> Tensor:
        """Stand for a generator: one linear map of the image's first numbers."""
        return torch.addmm(ask.initial, ask.features[:, :4], residual[:4])

    def control(name: str) -> Maker:
        return control_prompts(name, None, images, lambda: pairs, 1)  # type: ignore[arg-type]

    oracle = OverfitConfig(steps=1, lr=1e-3, batch=64)
    ways = {
        "generated": lambda: (generated,),
        "nearest": lambda: (control("nearest"),),
        "oracle": lambda: (oracle_prompts(learner, fewer, oracle, lr=1e-3),),
    }
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in ways.items():
            stage = Stage(name="score", version=1, config={"variant": name, "count": count})
            start = time.monotonic()
            some = fewer if name == "oracle" else images
            scored(bench, Store(Path(folder)), stage, learner, some, make, name)
            times[f"{name}_s"] = time.monotonic() - start
    return {**times, "seconds": sum(times.values()), "peak_mib": peak_memory_mib()}


def _apart(count: int) -> dict[str, float]:
    """Return `measure` of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.scoring", "--only", str(count)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=KEEPING)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> int:
    """Measure both sizes in fresh processes and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sizes", type=int, nargs=2, default=list(SIZES))
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # one size, in this process
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only)))
        return 0
    with ThreadPoolExecutor() as both:  # two processes at once
        small, large = both.map(_apart, args.sizes)
    result = {
        "images": list(args.sizes),
        "prompt_numbers": LAYERS * LENGTH * (TEXT + VISION),
        "peak_mib": [small["peak_mib"], large["peak_mib"]],
        "peak_growth_mib": large["peak_mib"] - small["peak_mib"],
        "seconds": [small["seconds"], large["seconds"]],
        "whole_tensor_mib": args.sizes[1] * LAYERS * LENGTH * (TEXT + VISION) * 4 / 2**20,
    }
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
