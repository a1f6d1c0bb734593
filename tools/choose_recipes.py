"""Choose settings on held-out base classes: never on a new class, never on a test image.

    python -m tools.choose_recipes --data caltech101 --backbone photo-clip-lite --out runs/holdout

Every setting of the grid is trained with ``--protocol holdout`` (half of the base classes play the
new ones, all val images the test images) and scored; the table is printed as Markdown, best
harmonic mean first, and written to ``holdout.md`` in the folder of runs. Finished runs are not
repeated.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from diffuprompt.cli.console import console_progress
from diffuprompt.engine.files import write_text
from diffuprompt.protocols.evaluate import evaluate_run
from diffuprompt.protocols.job import JobConfig
from diffuprompt.protocols.train import train_job
from diffuprompt.record import read_record

GRID: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {
    ("zero-shot", "none"): ((),),
    ("coop", "none"): (("lr=0.002",), ("lr=0.005",), ("lr=0.02",)),
    ("cocoop", "none"): (
        ("lr=0.002", "batch=1"),
        ("lr=0.005", "batch=4"),
        ("lr=0.01", "batch=1"),
        ("lr=0.02", "batch=4"),
        ("lr=0.05", "batch=4"),
    ),
    ("prograd", "none"): (("lr=0.002",), ("lr=0.02",), ("lr=0.05",), ("lr=0.1",)),
    ("clip-adapter", "none"): (("lr=1e-5",), ("lr=1e-4",), ("lr=1e-3",), ("lr=3e-3",)),
    ("tip-adapter", "none"): ((), ("learner.alpha=0.3",), ("learner.alpha=3",)),
    ("tip-adapter-f", "none"): (
        ("lr=1e-4",),
        ("lr=1e-3",),
        ("lr=1e-3", "learner.alpha=3"),
    ),
    ("vpt", "none"): (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    ("deep-language", "none"): (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    ("ivlp", "none"): (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
    ("maple", "none"): (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
    ("promptsrc", "none"): (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    ("coprompt", "none"): (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
    ("cocoop", "diffusion"): (
        (),
        ("fit.pi=meta_net",),
        ("fit.pi=meta_net", "fit.epochs=200"),
        ("fit.ce_weight=1", "fit.pi=meta_net", "fit.epochs=50", "fit.lr=0.0005"),
        ("fit.ce_weight=1", "fit.pi=meta_net", "fit.epochs=50", "fit.lr=0.0005", "fit.classes=16"),
    ),
}


def harmonic(a: float, b: float) -> float:
    """Harmonic mean of two accuracies."""
    return 2 * a * b / (a + b) if a + b else 0.0


def main() -> None:
    """Run the grid and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="caltech101")
    parser.add_argument("--backbone", default="photo-clip-lite")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--learners", nargs="+", default=list(dict.fromkeys(k[0] for k in GRID)))
    parser.add_argument("--out", type=Path, default=Path("runs/holdout"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows: list[tuple[float, str]] = []
    for (learner, generator), settings in GRID.items():
        if learner not in args.learners:
            continue
        for overrides in settings:
            for seed in args.seeds:
                job = JobConfig(
                    data=args.data, backbone=args.backbone, learner=learner, generator=generator,
                    seed=seed, protocol="holdout", overrides=overrides, runs_dir=args.out,
                    precision=args.precision,
                )  # fmt: skip
                progress = console_progress()
                record = read_record(evaluate_run(train_job(job, progress), progress=progress))
                for variant in dict.fromkeys(s.variant for s in record.scores):
                    base, new = record.score(variant, "base"), record.score(variant, "new")
                    assert base is not None
                    assert new is not None
                    h = harmonic(base.accuracy, new.accuracy)
                    name = f"{learner} {' '.join(overrides)}" + f" ({variant})" * (variant != "own")
                    figures = f"{base.accuracy:.2f} | {new.accuracy:.2f} | {h:.2f}"
                    rows.append((h, f"| {name} | {seed} | {figures} |"))
    head = "| setting | seed | base | new | H |\n|---|---|---|---|---|\n"
    table = head + "\n".join(row for _, row in sorted(rows, reverse=True)) + "\n"
    write_text(args.out / "holdout.md", table)
    logging.getLogger().info("%s", table)


if __name__ == "__main__":
    main()
