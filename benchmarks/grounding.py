"""Measure what grounding costs, as ratios within one run.

    python -m benchmarks.grounding [--json] [--threads 1] [--repeats 5]

On the bundled tiny detector with pictures of noise, 16 at a time, and a mask generator with random
weights. Everything is measured in turn in one process, so that other load slows all of it down:
seconds are medians over rounds, and so are ratios, each taken within a round.

- prefix: attention of the first blocks of Swin-T and BERT-base with 8 prompts as extra keys and
  values, against concatenating them to the tokens and dropping their outputs;
- step: one training step of prompts (forward and backward), against the frozen forward;
- draw: guided latents by 8 steps of DPM-Solver++, against the frozen forward;
- suppress: boxes of 16 expressions, against the same one box at a time, and against the forward.

Full-size step times are a section of `benchmarks.device`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.engine import torch_stream
from diffuprompt.grounding import (
    Adaptation,
    Batch,
    BertConfig,
    GeneratorConfig,
    MaskGenerator,
    SelfAttention,
    VisualPrompt,
    WindowAttention,
    condition_of,
    iou,
    nms,
    open_detector,
)

BATCH, LENGTH, NFE, SIDE = 16, 8, 8, 64
WINDOWS, WORDS = 64 * 4, 32  # of four pictures of 56 x 56 cells; of captions
BOXES, IOU, MOST = 336, 0.6, 100  # all anchors of a picture of 64 pixels
CAPTION = "the red cup left of the lamp"
RATIOS = {
    "prefix_swin": ("swin, prefix", "swin, concatenated"),
    "prefix_bert": ("bert, prefix", "bert, concatenated"),
    "step": ("step with prompts", "forward"),
    "forward_with_prompts": ("forward with prompts", "forward"),
    "draw": ("draw", "forward"),
    "suppress": ("suppress", "suppress, one at a time"),
    "suppress_of_forward": ("suppress", "forward"),
}
Jobs = dict[str, Callable[[], object]]


def numbers(name: str, *size: int) -> Tensor:
    """Return normal numbers that depend on the name alone."""
    return torch.randn(*size, generator=torch_stream(0, name))


def swin_jobs() -> Jobs:
    """Return one window attention of Swin-T's first stage, in both ways."""
    torch.manual_seed(0)
    attention = WindowAttention(96, 3, 7).requires_grad_(False)
    x, prompts = numbers("x", WINDOWS, 49, 96), numbers("p", WINDOWS, LENGTH, 96)
    return {
        "swin, prefix": lambda: attention(x, None, prompts),
        "swin, concatenated": lambda: concatenated_swin(attention, x, prompts),
    }


def concatenated_swin(attention: WindowAttention, x_BNC: Tensor, prompts_BPC: Tensor) -> Tensor:
    """Return the same with prompts as tokens, whose outputs are dropped."""
    both, num = torch.cat([prompts_BPC, x_BNC], 1), prompts_BPC.shape[1]
    q, k, v = attention._heads(attention.qkv(both), 3)
    bias = functional.pad(attention._bias(None, len(x_BNC)), (num, 0, num, 0))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    out: Tensor = attention.proj(mixed.transpose(1, 2).flatten(2))
    return out[:, num:]


def bert_jobs() -> Jobs:
    """Return one self-attention of BERT-base, in both ways."""
    torch.manual_seed(0)
    attention = SelfAttention(BertConfig()).requires_grad_(False)
    x, prompts = numbers("words", BATCH, WORDS, 768), numbers("p", BATCH, LENGTH, 768)
    return {
        "bert, prefix": lambda: attention(x, torch.zeros(BATCH, 1, 1, WORDS), prompts),
        "bert, concatenated": lambda: concatenated_bert(attention, x, prompts),
    }


def concatenated_bert(attention: SelfAttention, x_BSC: Tensor, prompts_BPC: Tensor) -> Tensor:
    """Return the same with prompts as words, whose outputs are dropped."""
    both, num = torch.cat([prompts_BPC, x_BSC], 1), prompts_BPC.shape[1]
    bias = torch.zeros(len(both), 1, 1, both.shape[1])
    out: Tensor = attention(both, bias, None)
    return out[:, num:]


def detector_jobs() -> Jobs:
    """Return the bundled detector with and without prompts, and draws of a mask generator."""
    detector = open_detector("scenes-glip")
    pixels = numbers("pixels", BATCH, 3, SIDE, SIDE).sigmoid()
    tokens = detector.tokens([CAPTION] * BATCH)
    roots = [(0, len("the red cup"))] * BATCH
    boxes = torch.tensor([8.0, 8, 40, 40]).expand(BATCH, 4)
    prompts = [
        (0.02 * numbers(f"p{i}", BATCH, LENGTH, width)).requires_grad_()
        for i, width in enumerate((*detector.sites.visual, *detector.sites.textual))
    ]
    blocks = len(detector.sites.visual)
    given = Adaptation(
        visual=[VisualPrompt(tokens=own) for own in prompts[:blocks]], textual=prompts[blocks:]
    )
    batch = Batch(
        pixels=pixels, texts=(CAPTION,) * BATCH, roots=tuple(roots), boxes=boxes, masks=None
    )
    condition = condition_of(detector, None, batch, "tokens")
    config = GeneratorConfig(nfe=NFE)
    made = MaskGenerator(config, condition.widths(), generator=torch_stream(0, "init")).eval()
    made.requires_grad_(False)

    def step() -> None:
        with torch.enable_grad():
            answer = detector.run(pixels, tokens, given)
            loss = detector.loss(answer, tokens, roots, boxes)["loss"]
            torch.autograd.grad(loss, prompts, allow_unused=True)

    def draw() -> object:
        streams = [torch_stream(0, "draw", row) for row in range(BATCH)]
        return made.sample(condition, streams, grid=(SIDE // 8, SIDE // 8), nfe=NFE)

    return {
        "forward": lambda: detector.run(pixels, tokens),
        "forward with prompts": lambda: detector.run(pixels, tokens, given),
        "step with prompts": step,
        "draw": draw,
    }


def suppression_jobs() -> Jobs:
    """Return the suppression of the boxes of 16 expressions, in both ways."""
    corners = 60 * numbers("corners", BOXES, 2).sigmoid()
    boxes = torch.cat([corners, corners + 4 + 20 * numbers("sides", BOXES, 2).sigmoid()], 1)
    scores = numbers("scores", BATCH, BOXES)
    return {
        "suppress": lambda: [nms(boxes, own, IOU, most=MOST) for own in scores],
        "suppress, one at a time": lambda: [one_by_one(boxes, own, IOU, MOST) for own in scores],
    }


def one_by_one(boxes_N4: Tensor, scores_N: Tensor, threshold: float, most: int) -> Tensor:
    """Return what `nms` does, comparing the best box with all others that are left."""
    left, kept = scores_N.argsort(descending=True, stable=True), []
    while len(left) and len(kept) < most:
        best, left = left[:1], left[1:]
        kept.append(best)
        left = left[iou(boxes_N4[best], boxes_N4[left])[0] <= threshold]
    return torch.cat(kept)


def jobs() -> Jobs:
    """Return what is measured, by name."""
    return {**swin_jobs(), **bert_jobs(), **detector_jobs(), **suppression_jobs()}


@torch.no_grad()
def clock(job: Callable[[], object]) -> float:
    """Return wall seconds of one run."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def ratios(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return medians over rounds of the ratios of each round."""
    return {
        name: statistics.median(one[above] / one[below] for one in rounds)
        for name, (above, below) in RATIOS.items()
    }


def main() -> None:
    """Measure in turn and print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="last line is one JSON object")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repeats", type=int, default=5, help="rounds over everything")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    every = jobs()
    for job in every.values():
        clock(job)  # the libraries' own start is nobody's cost
    rounds = [{name: clock(job) for name, job in every.items()} for _ in range(args.repeats)]
    seconds = {name: statistics.median(one[name] for one in rounds) for name in every}
    print("| | ms |\n| --- | ---: |")
    for name, value in seconds.items():
        print(f"| {name} | {1000 * value:.2f} |")
    found = ratios(rounds)
    print("\n| ratio | |\n| --- | ---: |")
    for name, value in found.items():
        print(f"| {name} | {value:.3f} |")
    if args.json:
        milliseconds = {f"{name}_ms": 1000 * value for name, value in seconds.items()}
        print(json.dumps({**found, "threads": args.threads, **milliseconds}))


if __name__ == "__main__":
    main()
