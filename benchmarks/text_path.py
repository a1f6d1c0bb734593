"""Compare the three text paths in one run: plain 77 tokens, truncated at the longest EOT, ours.

    python -m benchmarks.text_path [--json] [--repeats 3] [--quick]

A 12-layer, 512-wide text tower with random weights, 100 classes whose names have 1 to 6 tokens
(mean 2.1), 4 samples with prompts of their own, 4 prompt tokens. Seconds are CPU seconds on one
thread, so that other load does not matter much; wall seconds on all cores stand beside them. All
paths are the package's own and use the same blocks; the plain one uses PyTorch's fused attention.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.clip import PromptedTokens, TextConfig, TextPlan, TextTower, class_tokens

SAMPLES, NUM_CTX, WIDTH, LAYERS = 4, 4, 512, 12
NAME_LENGTHS = [1] * 42 + [2] * 30 + [3] * 14 + [4] * 8 + [5] * 4 + [6] * 2
PATHS = {
    "plain": TextPlan(path="plain", memory_mib=10**6),
    "truncated": TextPlan(path="truncated", memory_mib=10**6),
    "ours": TextPlan(memory_mib=10**6),
}


class Ids:
    """Names are lists of ids; a tokenizer is not what is measured."""

    sot, eot, pad = 49406, 49407, 0

    def encode(self, text: str) -> list[int]:
        """Return the numbers that ``text`` spells."""
        words = text.replace(".", " 269").split()
        return [int(word) for word in words]


def class_names() -> list[str]:
    """Return 100 names of as many tokens as real ones have, for `Ids`."""
    ids = torch.randint(1000, 40000, (len(NAME_LENGTHS), 6)).tolist()
    return [" ".join(map(str, row[:n])) for row, n in zip(ids, NAME_LENGTHS, strict=True)]


def setting() -> tuple[TextTower, PromptedTokens, Tensor]:
    """Return the tower, the tokenised classes and prompts ``(4, 1, 4, 512)``."""
    torch.manual_seed(0)
    config = TextConfig(
        width=WIDTH, layers=LAYERS, heads=8, mlp_width=4 * WIDTH, vocab_size=49408,
        context_length=77, sot=49406, eot=49407, pad=0,
    )  # fmt: skip
    tower = TextTower(config, embed_dim=512).requires_grad_(False).eval()
    names = class_names()
    tokens = class_tokens(Ids(), names, prefix=None, num_ctx=NUM_CTX)
    return tower, tokens, torch.randn(SAMPLES, 1, NUM_CTX, WIDTH) * 0.02


def forward(tower: TextTower, tokens: PromptedTokens, prompts: Tensor, path: str) -> Tensor:
    """Features without a graph."""
    with torch.inference_mode():
        return tower(tokens, {0: prompts}, PATHS[path])


def train(tower: TextTower, tokens: PromptedTokens, prompts: Tensor, path: str) -> Tensor:
    """Forward and backward to the prompts; returns their gradient."""
    leaf = prompts.clone().requires_grad_()
    out = tower(tokens, {0: leaf}, PATHS[path])
    (out * torch.cos(torch.arange(out.numel()).view_as(out))).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def clock(
    run: Callable[[], Tensor], repeats: int, timer: Callable[[], float]
) -> tuple[float, Tensor]:
    """Median seconds of ``repeats`` runs, and the last result."""
    seconds = []
    for _ in range(repeats):
        start = timer()
        result = run()
        seconds.append(timer() - start)
    return statistics.median(seconds), result


def matmul_flops(threads_seconds: Callable[[], float] = time.process_time) -> float:
    """This machine's own fp32 throughput in floating point operations per second, best of 5."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = min(clock(lambda: a @ b, 1, threads_seconds)[0] for _ in range(5))
    return 2 * 2048**3 / best


def forward_flops(tower: TextTower, tokens: PromptedTokens) -> float:
    """Multiplications and additions of our path's matrix products, attention included."""
    packing = tokens.packing
    assert packing is not None
    size, classes = packing.num_tokens, len(tokens)
    hidden = tower.config.mlp_width
    prefix = len(packing.prefix_ids)
    attended = prefix * prefix + sum(
        b.count * b.length * (prefix + b.length) for b in packing.buckets
    )
    block = size * (4 * WIDTH * WIDTH + 2 * WIDTH * hidden) + 2 * attended * WIDTH
    last = size * 2 * WIDTH * WIDTH + classes * (2 * WIDTH * WIDTH + 2 * WIDTH * hidden)
    return 2.0 * SAMPLES * ((LAYERS - 1) * block + last + classes * WIDTH * 512)


def _peak(path: str, queue: multiprocessing.Queue[float]) -> None:
    torch.set_num_threads(1)
    tower, tokens, prompts = setting()
    forward(tower, tokens, prompts[:1], "ours")
    before = _status_mib("VmRSS")
    train(tower, tokens, prompts, path)
    queue.put(_status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    """Read the kernel's own account of this process; getrusage would count the parent's peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}; the memory figures need Linux")


def peak_memory_mib(path: str) -> float:
    """Peak memory of forward and backward above what the process held before, own process."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[float] = context.Queue()
    process = context.Process(target=_peak, args=(path, queue))
    process.start()
    value = queue.get()
    process.join()
    return value


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of the largest entry."""
    return float((a - b).abs().max() / b.abs().max())


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="last line is one JSON object")
    parser.add_argument("--repeats", type=int, default=3, help="of the short runs; plain runs once")
    args = parser.parse_args()
    tower, tokens, prompts = setting()
    cores = torch.get_num_threads()
    train(tower, tokens, prompts[:1], "truncated")  # the libraries' own start is no path's cost
    result: dict[str, float] = {}
    cpu: dict[tuple[str, str], float] = {}
    wall: dict[tuple[str, str], float] = {}
    errors = []
    for kind, run in (("forward", forward), ("train", train)):
        reference = torch.empty(0)
        for path in PATHS:
            repeats = 1 if path == "plain" else args.repeats

            def job(run: Callable[..., Tensor] = run, path: str = path) -> Tensor:
                return run(tower, tokens, prompts, path)

            torch.set_num_threads(1)
            cpu[kind, path], result_BCE = clock(job, repeats, time.process_time)
            torch.set_num_threads(cores)
            wall[kind, path], _ = clock(job, repeats, time.perf_counter)
            reference = result_BCE if path == "plain" else reference
            errors.append(relative(result_BCE, reference))
            print(
                f"{kind:8} {path:10} {cpu[kind, path]:8.2f} CPU s  {wall[kind, path]:8.2f} wall s"
            )
    torch.set_num_threads(1)
    peak = matmul_flops()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for kind, run in (("forward", forward), ("train", train)):

            def short(run: Callable[..., Tensor] = run) -> Tensor:
                return run(tower, tokens, prompts, "ours")

            seconds, _ = clock(short, args.repeats, time.process_time)
            result[f"bf16_{kind}_speedup"] = cpu[kind, "ours"] / seconds
    memory = {path: peak_memory_mib(path) for path in PATHS}
    for path, mib in memory.items():
        print(f"memory   {path:10} {mib:8.0f} MiB above the process, forward and backward")
    for kind in ("forward", "train"):
        result[f"{kind}_ratio"] = cpu[kind, "plain"] / cpu[kind, "ours"]
        result[f"{kind}_vs_truncated"] = cpu[kind, "truncated"] / cpu[kind, "ours"]
        result[f"{kind}_wall_ratio"] = wall[kind, "plain"] / wall[kind, "ours"]
    result["memory_ratio"] = memory["ours"] / memory["plain"]
    result["max_rel_error"] = max(errors)
    result["peak_share"] = forward_flops(tower, tokens) / cpu["forward", "ours"] / peak
    result["matmul_gflops"] = peak / 1e9
    for key, value in result.items():
        print(f"{key:24} {value:.4g}")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
