"""The sections of `benchmarks.device`: each measures one thing and returns its numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import diffuprompt.engine.guard as guard
from benchmarks.device_bench import (
    NFE,
    NUM_CTX,
    PATHS,
    STEPS,
    Bench,
    Result,
    Steps,
    generator,
    problem,
    relative,
)
from benchmarks.device_grounding import grounding
from diffuprompt.clip import Clip, PromptedTokens, TextConfig, TextPlan
from diffuprompt.data import ImageBatch
from diffuprompt.engine import Optimiser, train
from diffuprompt.generators import (
    FitTask,
    OverfitConfig,
    PromptDiffusion,
    PromptPairs,
    descend,
    overfit,
)

TOLERANCE = 1e-4  # of the largest entry, in fp32


SAMPLES = 1e-3  # five evaluations and float32 times carry rounding further


def matmul(bench: Bench) -> Result:
    """The throughput of one large product, in both precisions."""
    size, found = bench.shapes.matmul, {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (bench.numbers(n, size, size).to(bench.device, dtype) for n in "ab")
        timed = bench.clock(lambda a=a, b=b: a @ b, repeats=7)  # type: ignore[misc]
        bench.peak[name] = 2 * size**3 / timed["ms"] * 1000
        found[name] = {**timed, "tflops": bench.peak[name] / 1e12}
    return found


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
    "grounding": (40, grounding),
}
