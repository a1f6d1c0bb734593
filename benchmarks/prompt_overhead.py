"""Measure what generating prompts costs beside classifying with prompts of each image's own.

    python -m benchmarks.prompt_overhead [--json] [--threads 2] [--repeats 3]

CoCoOp at ViT-B/16's shapes with random weights, 100 classes whose names have 1 to 6 tokens, 32
images. Classifying is `Learner.logits` on features that are there already, so the text tower by our
fast path and nothing else; beside the image tower too, or a slower text path, a share is smaller.
Generating is `PromptDiffusion.sample` at five evaluations, with each network, and with AMED
(unfitted: the cost is the same). Everything is measured in turn in one process, so that other load
slows all of it down: seconds are medians over rounds, and so are shares, each taken within a round.
``overhead_ratio`` is the largest share of wall time of all of them.

Threads sleep while they wait for each other (OMP_WAIT_POLICY=PASSIVE, unless the environment says
otherwise). Spinning, the default, stalls the many small steps of generating wherever other programs
want the same cores: on two cores with a load of 7 the shares were then 18 % (small) and 33 %
(paper), on one thread there 1.2 % and 8.8 %.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported

import torch
from torch import Tensor

from benchmarks.text_path import Ids, class_names
from diffuprompt.checkpoints import Tokenizer
from diffuprompt.clip import Clip, ClipConfig, TextConfig, VisionConfig
from diffuprompt.data import ImageBatch, Preprocess
from diffuprompt.engine import torch_stream
from diffuprompt.generators import DiffusionConfig, FitConfig, PromptDiffusion
from diffuprompt.learners import Classes, build_learner

BATCH, NFE = 32, 5
SETTINGS: dict[str, dict[str, Any]] = {
    "small": {},
    "small, amed": {"sampler": "amed"},
    "paper": {"network": "paper"},
    "paper, amed": {"network": "paper", "sampler": "amed"},
}
CLASSIFY, IMAGES = "classify", "image tower"
Round = Mapping[str, tuple[float, float]]  # wall and CPU seconds of each job


def base16() -> Clip:
    """Return ViT-B/16's shapes with random weights, and names that are lists of ids."""
    torch.manual_seed(0)
    text = TextConfig(
        width=512, layers=12, heads=8, mlp_width=2048, vocab_size=49408, context_length=77,
        sot=Ids.sot, eot=Ids.eot, pad=Ids.pad,
    )  # fmt: skip
    vision = VisionConfig(
        width=768, layers=12, heads=12, mlp_width=3072, image_size=224, patch_size=16
    )
    config = ClipConfig(text=text, vision=vision, embed_dim=512)
    return Clip(config, cast(Tokenizer, Ids()), Preprocess()).freeze()


def jobs() -> dict[str, Callable[[], Tensor]]:
    """Return what is measured, by name."""
    clip = base16()
    stream = torch_stream(0, "init")
    learner = build_learner("cocoop", clip, {"ctx_init": None}, generator=stream)
    learner.requires_grad_(False)
    features = torch.randn(BATCH, 512, generator=torch_stream(0, "features"))
    pixels = torch.randn(BATCH, 3, 224, 224, generator=torch_stream(0, "pixels"))
    images = ImageBatch(None, None, torch.arange(BATCH), features=features)
    classes = Classes(tuple(class_names()))
    own = learner.prompts(features)
    flat = learner.spec.pack(own)
    found: dict[str, Callable[[], Tensor]] = {
        CLASSIFY: lambda: learner.logits(images, classes, own),
        IMAGES: lambda: clip.vision(pixels),
    }
    for name, settings in SETTINGS.items():
        config = DiffusionConfig(nfe=NFE, **settings)
        made = PromptDiffusion(learner.spec, 512, config, FitConfig(), seed=0).eval()
        check(made, features, flat)
        found[name] = partial(made.sample, features, flat)
    return found


@torch.inference_mode()
def check(generator: PromptDiffusion, features: Tensor, flat: Tensor) -> None:
    """Raise unless a sample costs five evaluations."""
    calls: list[None] = []
    hook = generator.network.register_forward_hook(lambda *_: calls.append(None))
    generator.sample(features, flat)
    hook.remove()
    if len(calls) != NFE:
        raise RuntimeError(f"expected {NFE} evaluations per sample, counted {len(calls)}")


@torch.inference_mode()
def clock(job: Callable[[], Tensor]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def shares(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """Return of each job medians over rounds: wall and CPU seconds, and shares of classifying."""
    found = {}
    for name in rounds[0]:
        own = [one[name] for one in rounds]
        base = [one[CLASSIFY] for one in rounds]
        whole = [one[CLASSIFY][0] + one[IMAGES][0] for one in rounds]
        columns = {
            "wall_s": [a[0] for a in own],
            "cpu_s": [a[1] for a in own],
            "ratio": [a[0] / b[0] for a, b in zip(own, base, strict=True)],
            "cpu_ratio": [a[1] / b[1] for a, b in zip(own, base, strict=True)],
            "ratio_with_image_tower": [a[0] / w for a, w in zip(own, whole, strict=True)],
        }
        found[name] = {key: statistics.median(values) for key, values in columns.items()}
    return found


def main() -> None:
    """Measure in turn and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="last line is one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="of torch; the bound is for 2")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over everything")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    every = jobs()
    for name in (CLASSIFY, *SETTINGS):
        clock(every[name])  # the libraries' own start is nobody's cost
    table = shares([{n: clock(job) for n, job in every.items()} for _ in range(args.repeats)])
    print("| | wall s | CPU s | share of classifying | in CPU s | with the image tower |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in table.items():
        wall, cpu, *ratios = row.values()
        print(
            f"| {name} | {wall:.3f} | {cpu:.3f} | " + " | ".join(f"{r:.1%}" for r in ratios) + " |"
        )
    result = {
        "overhead_ratio": max(table[name]["ratio"] for name in SETTINGS),
        "threads": args.threads,
        **{
            f"{name.replace(', ', '_').replace(' ', '_')}_{key}": value
            for name, row in table.items()
            for key, value in row.items()
        },
    }
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
