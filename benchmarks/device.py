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
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks.device_bench import Bench, Result
from benchmarks.device_sections import SECTIONS
from diffuprompt.engine import environment, pick


def run(device: torch.device, *, small: bool, minutes: float, out: Path | None) -> Result:
    """Run every section that fits into the time; errors of one are noted and end no other."""
    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    result: Result = {
        "schema_name": "device-benchmark/1",  # no record, so reports pass it by
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
