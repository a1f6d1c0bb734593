"""Prove that a device computes what the CPU does, and measure how well it is used.

    python -m benchmarks.device [--device auto] [--json] [--minutes 6] [--out FILE] [--small]

At ViT-B/16's shapes with random weights: features, logits and gradients of prompts against the
CPU's (fp32, TF32 off); how often a training step waits; the text path against the plain and the
truncated one at 100 and 1,000 classes; a training step of CoCoOp; overfitting 800 images with 5
steps; prompts generated with 5 evaluations. Each with the share of the matrix product throughput
that was measured on the same device. ``--small``, the default without an accelerator, runs tiny
shapes in seconds. Sections that would exceed ``--minutes`` are left out by name; ``--out`` is
rewritten after each, so that a run that was cut off leaves what it has. Only torch, numpy, pillow
and safetensors are needed, and the package on the path.

Products are counted from tokens: multiplications and additions of linear maps and of attention.
A backward pass to prompts costs the linear maps once (weights are frozen) and attention twice.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import diffuprompt.engine.guard as guard
from benchmarks.text_path import NAME_LENGTHS, Ids
from diffuprompt.clip import Clip, ClipConfig, PromptedTokens, TextConfig, TextPlan, VisionConfig
from diffuprompt.data import ImageBatch, Preprocess
from diffuprompt.engine import Optimiser, environment, pick, torch_stream, train
from diffuprompt.generators import (
    DiffusionConfig,
    FitConfig,
    FitTask,
    OverfitConfig,
    Problem,
    PromptDiffusion,
    PromptPairs,
    descend,
    overfit,
)
from diffuprompt.learners import Classes, Learner, build_learner

TOLERANCE = 1e-4  # of the largest entry, in fp32
SAMPLES = 1e-3  # five evaluations and float32 times carry rounding further
STEPS, NFE, NUM_CTX = 5, 5, 4
PATHS = ("plain", "truncated", "fast")
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What is measured: sizes of the towers and of the work."""

    text: TextConfig
    vision: VisionConfig
    embed: int
    classes: tuple[int, int]
    samples: tuple[int, int]  # with prompts of their own, for each number of classes
    images: int  # to overfit
    batch: int  # of overfitting
    generated: int
    matmul: int
    networks: tuple[str, ...]
    memory_mib: int


def shapes(small: bool) -> Shapes:
    """Return ViT-B/16's shapes, or tiny ones."""
    special = {"vocab_size": 49408, "context_length": 77, "sot": Ids.sot, "eot": Ids.eot}
    if small:
        return Shapes(
            text=TextConfig(width=32, layers=2, heads=4, mlp_width=64, pad=Ids.pad, **special),
            vision=VisionConfig(
                width=48, layers=2, heads=4, mlp_width=96, image_size=32, patch_size=16
            ),
            embed=32, classes=(6, 12), samples=(2, 1), images=8, batch=4, generated=4, matmul=256,
            networks=("small",), memory_mib=1024,
        )  # fmt: skip
    return Shapes(
        text=TextConfig(width=512, layers=12, heads=8, mlp_width=2048, pad=Ids.pad, **special),
        vision=VisionConfig(
            width=768, layers=12, heads=12, mlp_width=3072, image_size=224, patch_size=16
        ),
        embed=512, classes=(100, 1000), samples=(4, 1), images=800, batch=40, generated=64,
        matmul=8192, networks=("small", "paper"), memory_mib=60_000,
    )  # fmt: skip


class Bench:
    """The towers on both devices, what they are given, and the clock."""

    def __init__(self, device: torch.device, small: bool) -> None:
        self.device, self.shapes = device, shapes(small)
        torch.manual_seed(0)
        config = ClipConfig(
            text=self.shapes.text, vision=self.shapes.vision, embed_dim=self.shapes.embed
        )
        tokenizer: Any = Ids()  # names are lists of ids: no tokenizer is needed here
        self.near = Clip(config, tokenizer, Preprocess()).freeze()
        self.far = copy.deepcopy(self.near).to(device)
        self.peak: dict[str, float] = {}  # operations per second, by precision

    def classes(self, count: int) -> Classes:
        """Return names of as many tokens as real ones have."""
        lengths = (NAME_LENGTHS * (count // len(NAME_LENGTHS) + 1))[:: 1 if count > 99 else 9]
        drawn = torch.randint(1000, 40000, (count, 6), generator=torch_stream(0, "names")).tolist()
        return Classes(
            [" ".join(map(str, row[:n])) for row, n in zip(drawn, lengths, strict=False)]
        )

    def learner(self, clip: Clip) -> Learner:
        """Return CoCoOp with the same weights on any device."""
        plan = TextPlan(memory_mib=self.shapes.memory_mib)
        stream = torch_stream(0, "init")
        return build_learner("cocoop", clip, {"ctx_init": None}, plan=plan, generator=stream)

    def numbers(self, name: str, *size: int) -> Tensor:
        """Return normal numbers on the CPU."""
        return torch.randn(*size, generator=torch_stream(0, name))

    def sync(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def clock(self, job: Callable[[], object], repeats: int = 5, warm: int = 2) -> Result:
        """Return the median seconds of ``job`` after a warm-up, and the peak memory."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        for _ in range(warm):
            job()
        seconds = []
        for _ in range(repeats):
            self.sync()
            if cuda:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                job()
                end.record()
                end.synchronize()
                seconds.append(start.elapsed_time(end) / 1000)
            else:
                began = time.perf_counter()
                job()
                self.sync()
                seconds.append(time.perf_counter() - began)
        found: Result = {"ms": 1000 * statistics.median(seconds)}
        if cuda:
            found["peak_mib"] = torch.cuda.max_memory_allocated(self.device) / 2**20
        return found

    def with_share(self, found: Result, operations: float, precision: str = "fp32") -> Result:
        """Add how much of the measured throughput of matrix products was reached."""
        rate = operations / found["ms"] * 1000
        found["tflops"] = rate / 1e12
        if precision in self.peak:
            found["peak_share"] = rate / self.peak[precision]
        return found


def matmul(bench: Bench) -> Result:
    """The throughput of one large product, in both precisions."""
    size, found = bench.shapes.matmul, {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (bench.numbers(n, size, size).to(bench.device, dtype) for n in "ab")
        timed = bench.clock(lambda a=a, b=b: a @ b, repeats=7)  # type: ignore[misc]
        bench.peak[name] = 2 * size**3 / timed["ms"] * 1000
        found[name] = {**timed, "tflops": bench.peak[name] / 1e12}
    return found


def relative(got: Tensor, want: Tensor) -> float:
    """Largest difference as a share of the largest entry."""
    got, want = got.detach().float().cpu(), want.detach().float().cpu()
    return float((got - want).abs().max() / want.abs().max())


def parity(bench: Bench) -> Result:
    """Features, logits, gradients of prompts and samples against the CPU's, in fp32."""
    side, classes = bench.shapes.vision.image_size, bench.classes(bench.shapes.classes[0])
    pixels = bench.numbers("pixels", 2, 3, side, side)
    vision_prompts = 0.1 * bench.numbers("vision", 2, 4, bench.shapes.vision.width)
    noise = bench.numbers("weights", 10**6)

    def run(clip: Clip) -> dict[str, Tensor]:
        device = clip.device
        learner = bench.learner(clip)
        with torch.no_grad():
            features = clip.vision(pixels.to(device))
            prompted = clip.vision(pixels.to(device), {0: vision_prompts.to(device)})
        images = ImageBatch(None, torch.arange(2, device=device), torch.arange(2), features)
        flat = learner.spec.pack(learner.prompts(features)).detach().requires_grad_()
        prompts = learner.spec.unpack(flat)
        text = learner.text_features(classes, learner.render(prompts))
        logits = learner.logits(images, classes, prompts)
        loss = torch.nn.functional.cross_entropy(logits, images.labels)
        (gradient,) = torch.autograd.grad(loss, flat)
        with torch.no_grad():
            tokens = learner.tokens(classes)
            plain = clip.text(tokens, {0: prompts["text.0"]}, TextPlan(path="plain"))
        found = {
            "image_features": features, "image_features_with_prompts": prompted,
            "text_features": text, "text_features_plain": plain, "logits": logits,
            "prompt_gradient": gradient,
        }  # fmt: skip
        for network in bench.shapes.networks:
            made = generator(bench, learner, network, noise).to(device)
            with torch.no_grad():
                found[f"sample_{network}"] = made.generate(features)
        return found

    near, far = run(bench.near), run(bench.far)
    errors = {name: relative(far[name], near[name]) for name in near}
    errors["fast_against_plain"] = relative(far["text_features"], far["text_features_plain"])
    bounds = {name: SAMPLES if name.startswith("sample") else TOLERANCE for name in errors}
    equal = all(errors[name] < bound for name, bound in bounds.items())
    return {**errors, "bound": TOLERANCE, "bound_of_samples": SAMPLES, "equal": equal}


def generator(
    bench: Bench, learner: Learner, network: str, noise: Tensor | None = None
) -> PromptDiffusion:
    """Return prompt diffusion with random weights everywhere, so that it answers something."""
    made = PromptDiffusion(
        learner.spec, bench.shapes.embed, DiffusionConfig(network=network, nfe=NFE),  # type: ignore[arg-type]
        FitConfig(), seed=0,
    )  # fmt: skip
    noise = bench.numbers("weights", 10**6) if noise is None else noise
    with torch.no_grad():
        for parameter in made.network.parameters():
            size = parameter.numel()
            rows = noise.repeat(-(-size // len(noise)))[:size].view_as(parameter)
            parameter.add_(0.02 * rows)
        for name, buffer in made.normaliser.named_buffers():
            buffer.fill_(0.02 if name == "scale" else 1)
    return made.eval()


class Steps:
    """CoCoOp as the training loop sees it, on features that are there already."""

    def __init__(self, bench: Bench, batch: int, classes: int) -> None:
        self.learner, self.batch = bench.learner(bench.far), batch
        self.names = bench.classes(classes)
        count = 8 * batch
        self.images = ImageBatch(
            None, torch.arange(count) % classes, torch.arange(count),
            bench.numbers("features", count, bench.shapes.embed),
        ).to(bench.device)  # fmt: skip

    def parameters(self) -> Any:
        """Return the learnables."""
        return self.learner.parameters()

    def state(self) -> dict[str, Any]:
        """Do nothing: a measurement is not resumed."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing was saved."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the loss of one batch."""
        start = step % 8 * self.batch
        return self.learner.loss(self.images.select(slice(start, start + self.batch)), self.names)

    def after_step(self, epoch: int, step: int) -> None:
        """No average follows."""

    def after_epoch(self, epoch: int) -> None:
        """No average follows."""


def problem(bench: Bench, count: int) -> Problem:
    """Return the overfitting of CoCoOp's prompts for ``count`` images."""
    learner = bench.learner(bench.far).requires_grad_(False)
    classes = bench.classes(bench.shapes.classes[0])
    features = bench.numbers("overfit", count, bench.shapes.embed).to(bench.device)
    labels = (torch.arange(count) % len(classes)).to(bench.device)
    with torch.no_grad():
        own = learner.spec.pack(learner.prompts(features))

    def logits(flat: Tensor, index: Tensor, some: Tensor | None = None, /) -> Tensor:
        images = ImageBatch(None, None, index, features[index])
        return learner.logits(images, classes, learner.spec.unpack(flat))

    return Problem(logits=logits, initial=own, labels=labels)


def count_waits(job: Callable[[], object]) -> int:
    """Return how often the host waited for CUDA."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            job()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in seen)


def waits(bench: Bench) -> Result:
    """How often each further step makes the host wait; 0 is what is asked for. CUDA only."""
    if bench.device.type != "cuda":
        return {"note": "counted on CUDA only"}
    shape = bench.shapes
    few = problem(bench, shape.batch)
    index = torch.arange(shape.batch, device=bench.device)
    made = generator(bench, bench.learner(bench.far), "small").to(bench.device).train()
    features = bench.numbers("f", 256, shape.embed).to(bench.device)
    initial = bench.numbers("i", 256, made.spec.size).to(bench.device)
    pairs = PromptPairs(features, initial, initial + 0.01 * initial.flip(0))
    made.normaliser.measure(pairs.initial, pairs.target)
    fitting = FitTask(made, pairs, lambda flat, at: flat.sum())
    steps = Steps(bench, 1, shape.classes[0])

    def run(task: Any, count: int) -> Callable[[], object]:
        return lambda: train(task, Optimiser(lr=1e-4), epochs=1, steps_per_epoch=count)

    def further(make: Callable[[int], Callable[[], object]]) -> float:
        make(3)()  # what is remembered is worked out once
        return (count_waits(make(13)) - count_waits(make(3))) / 10

    def fit(count: int) -> Callable[[], object]:
        def job() -> None:
            for step in range(count):
                fitting.loss(step // 4, step % 4)["loss"].backward()
                fitting.after_step(step // 4, step % 4)

        return job

    gap, guard.MIN_GAP_S = guard.MIN_GAP_S, 1e9  # numbers are read when they are shown, not here
    try:
        return {
            "cocoop_step": further(lambda count: run(steps, count)),
            "fit_step": further(fit),
            "overfit_step": further(
                lambda count: lambda: descend(few, index, OverfitConfig(steps=count), 1e-3)
            ),
        }
    finally:
        guard.MIN_GAP_S = gap


def text_products(tokens: PromptedTokens, config: TextConfig, embed: int, path: str) -> Result:
    """Return multiplications of one sample: of linear maps, and of attention."""
    width, mlp, layers = config.width, config.mlp_width, config.layers
    per_token = 4 * width * width + 2 * width * mlp
    count = len(tokens)
    if path == "fast":
        packing = tokens.packing
        assert packing is not None
        prefix, size = len(packing.prefix_ids), packing.num_tokens
        attended = prefix * prefix + sum(
            b.count * b.length * (prefix + b.length) for b in packing.buckets
        )
        last = size * 2 * width * width + count * (2 * width * width + 2 * width * mlp)
        linear = (layers - 1) * size * per_token + last + count * width * embed
        return {
            "tokens": size,
            "linear": linear,
            "attention": 2 * width * (layers - 1) * attended,
        }
    length = tokens.longest if path == "truncated" else tokens.ids.shape[1]
    size = count * length
    return {
        "tokens": size,
        "linear": layers * size * per_token + count * width * embed,
        "attention": 2 * width * layers * size * length,
    }


def text_path(bench: Bench) -> Result:
    """The three text paths, forward alone and with the backward to prompts."""
    shape, found = bench.shapes, {}
    for count, samples in zip(shape.classes, shape.samples, strict=True):
        tokens = bench.learner(bench.far).tokens(bench.classes(count))
        prompts = 0.02 * bench.numbers("prompts", samples, 1, NUM_CTX, shape.text.width)
        prompts = prompts.to(bench.device)
        rows: Result = {path: one_path(bench, tokens, prompts, path) for path in PATHS}
        for kind in ("forward", "train"):
            fast = rows["fast"][kind]["ms"]
            rows[f"{kind}_ratio_to_plain"] = rows["plain"][kind]["ms"] / fast
            rows[f"{kind}_ratio_to_truncated"] = rows["truncated"][kind]["ms"] / fast
        bench.far.set_precision("bf16")
        rows["fast_bf16"] = one_path(bench, tokens, prompts, "fast", "bf16")
        bench.far.set_precision("fp32")
        found[f"{count} classes"] = {"samples": samples, **rows}
    return found


def one_path(
    bench: Bench, tokens: PromptedTokens, prompts: Tensor, path: str, precision: str = "fp32"
) -> Result:
    """One text path, forward alone and with the backward to prompts."""
    tower, samples = bench.far.text, len(prompts)
    plan = TextPlan(path=path, memory_mib=bench.shapes.memory_mib)  # type: ignore[arg-type]
    cost = text_products(tokens, bench.shapes.text, bench.shapes.embed, path)

    def forward() -> None:
        with torch.inference_mode():
            tower(tokens, {0: prompts}, plan)

    def both() -> None:
        leaf = prompts.clone().requires_grad_()
        torch.autograd.grad(tower(tokens, {0: leaf}, plan).square().sum(), leaf)

    once = 2.0 * samples * (cost["linear"] + cost["attention"])
    twice = 2.0 * samples * (2 * cost["linear"] + 3 * cost["attention"])
    return {
        "tokens_per_sample": cost["tokens"],
        "forward": bench.with_share(bench.clock(forward), once, precision),
        "train": bench.with_share(bench.clock(both, repeats=3), twice, precision),
    }


def cocoop_step(bench: Bench) -> Result:
    """Training steps of CoCoOp by the training loop: batches of 1, as published, and of 8."""
    shape, found = bench.shapes, {}
    count = 4 if shape.images < 100 else 30
    for batch in (1, 8):
        steps = Steps(bench, batch, shape.classes[0])
        cost = text_products(steps.learner.tokens(steps.names), shape.text, shape.embed, "fast")

        def job(steps: Steps = steps) -> None:
            train(steps, Optimiser(lr=1e-4), epochs=1, steps_per_epoch=count)

        timed = bench.clock(job, repeats=3, warm=1)
        timed["ms"] /= count
        operations = 2.0 * batch * (2 * cost["linear"] + 3 * cost["attention"])
        found[f"batch {batch}"] = bench.with_share(timed, operations)
    return found


def overfitting(bench: Bench) -> Result:
    """V* of all images after 5 steps, from the first to the last byte of the result."""
    shape, found = bench.shapes, {}
    all_images = problem(bench, shape.images)
    tokens = bench.learner(bench.far).tokens(bench.classes(shape.classes[0]))
    cost = text_products(tokens, shape.text, shape.embed, "fast")
    passes = (STEPS + 1 + STEPS) * cost["linear"] + (STEPS + 1 + 2 * STEPS) * cost["attention"]
    config = OverfitConfig(steps=STEPS, batch=shape.batch)
    results = {}
    for precision in ("fp32", "bf16"):
        bench.far.set_precision(precision)  # type: ignore[arg-type]

        def job() -> None:
            results[precision] = overfit(all_images, config, lr=0.01).prompts  # noqa: B023

        descend(all_images, torch.arange(shape.batch, device=bench.device), config, 0.01)
        timed = bench.clock(job, repeats=1, warm=0)
        timed |= {
            "images": shape.images,
            "steps": STEPS,
            "ms_per_image": timed["ms"] / shape.images,
        }
        found[precision] = bench.with_share(timed, 2.0 * shape.images * passes, precision)
    bench.far.set_precision("fp32")
    moved = [results[p] - all_images.initial for p in ("bf16", "fp32")]
    found["bf16"]["relative_error"] = float((moved[0] - moved[1]).norm() / moved[1].norm())
    return found


def generation(bench: Bench) -> Result:
    """Prompts of one batch of images, beside what classifying with them costs."""
    shape, learner = bench.shapes, bench.learner(bench.far).requires_grad_(False)
    features = bench.numbers("g", shape.generated, shape.embed).to(bench.device)
    classes = bench.classes(shape.classes[0])
    images = ImageBatch(None, None, torch.arange(shape.generated), features)
    with torch.inference_mode():
        own = learner.prompts(features)
        flat = learner.spec.pack(own)

    @torch.inference_mode()
    def classify() -> None:
        learner.logits(images, classes, own)

    cost = text_products(learner.tokens(classes), shape.text, shape.embed, "fast")
    once = 2.0 * shape.generated * (cost["linear"] + cost["attention"])
    found: Result = {"images": shape.generated, "evaluations": NFE}
    found["classify"] = bench.with_share(bench.clock(classify), once)
    for network in shape.networks:
        made = generator(bench, learner, network).to(bench.device)
        config, tokens = made.network.config, made.network.codec.tokens + 2
        width = config.width
        block = tokens * (4 + 2 * config.mlp_ratio) * width * width + 2 * tokens**2 * width

        @torch.inference_mode()
        def sample(made: PromptDiffusion = made) -> None:
            made.sample(features, flat)

        timed = bench.with_share(
            bench.clock(sample, repeats=9), 2.0 * NFE * shape.generated * config.layers * block
        )
        timed["share_of_classifying"] = timed["ms"] / found["classify"]["ms"]
        found[network] = timed
    return found


SECTIONS: dict[str, tuple[float, Callable[[Bench], Result]]] = {  # seconds on an H100, generous
    "matmul": (10, matmul),
    "parity": (40, parity),
    "waits": (20, waits),
    "text_path": (60, text_path),
    "cocoop_step": (30, cocoop_step),
    "generation": (20, generation),
    "overfitting": (90, overfitting),
}


def run(device: torch.device, *, small: bool, minutes: float, out: Path | None) -> Result:
    """Run every section that fits into the time; errors of one are noted and end no other."""
    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    result: Result = {
        "schema_name": "device-summary/1",  # no record, so reports pass it by
        "environment": environment(device), "small": small, "minutes": minutes,
        "sections": {}, "seconds": {}, "skipped": {}, "failed": {},
    }  # fmt: skip
    bench = Bench(device, small)
    for name, (estimate, section) in SECTIONS.items():
        began = time.monotonic()
        if not small and began - started + estimate > 60 * minutes:
            result["skipped"][name] = f"{estimate:g} s more would exceed {minutes:g} minutes"
            print(f"{name}: {result['skipped'][name]}", file=sys.stderr, flush=True)
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            result["sections"][name] = section(bench)
        except Exception as error:
            traceback.print_exc()
            result["failed"][name] = f"{type(error).__name__}: {error}"
        bench.far.set_precision("fp32")
        result["seconds"][name] = time.monotonic() - began
        if out is not None:
            out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def table(result: Result) -> str:
    """Return everything that was measured, one number per line."""
    lines = [f"{name:12} {value}" for name, value in result["environment"].items()]

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path} / {key}" if path else str(key))
        else:
            number = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"{path:60} {number}")

    walk({k: result[k] for k in ("sections", "seconds", "skipped", "failed")}, "")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--minutes", type=float, default=6.0, help="most time to take")
    parser.add_argument("--out", type=Path, help="file to rewrite after each section")
    parser.add_argument("--small", action="store_true", help="tiny shapes; the default on a CPU")
    args = parser.parse_args()
    device = pick(args.device)
    small = args.small or device.type == "cpu"
    result = run(device, small=small, minutes=args.minutes, out=args.out)
    print(json.dumps(result, indent=2) if args.json else table(result))
    parity_found = result["sections"].get("parity", {"equal": False})
    if result["failed"] or not parity_found["equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
