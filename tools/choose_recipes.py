"""Choose settings on held-out base classes: never on a new class, never on a test image.

    python -m tools.choose_recipes --learners coop cocoop --generators none
    python -m tools.choose_recipes --precision bf16 --seeds 1 2 --results results/holdout
    python -m tools.choose_recipes --grid options --data scenes --backbone scenes-clip \
        --learners cocoop --generators diffusion --results results/options

Every setting of the grid is trained and scored with the protocol ``holdout`` (half of the base
classes play the new ones; see `diffuprompt.protocols.roles`), each job in a process of its own, and
what is finished is not repeated. Records go to ``--results``; ``diffuprompt report`` shows every
setting beside the learner's recipe, with paired intervals.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from diffuprompt.engine import cores
from diffuprompt.jobs import NO_GENERATOR, Evaluation, JobConfig
from diffuprompt.matrix import MatrixJob, plan, run_matrix
from diffuprompt.studies import LEARNERS as IN_STUDY

Settings = tuple[str, ...]  # overrides; none are the recipe as it is

LEARNERS: dict[str, tuple[Settings, ...]] = {
    "zero-shot": (),
    "coop": (("lr=0.002",), ("lr=0.005",), ("lr=0.02",)),
    "cocoop": (
        ("lr=0.002", "batch=1"),
        ("lr=0.005", "batch=4"),
        ("lr=0.01", "batch=1"),
        ("lr=0.02", "batch=4"),
        ("lr=0.05", "batch=4"),
    ),
    "prograd": (
        ("lr=0.002",),
        ("lr=0.02",),
        ("lr=0.05",),
        ("lr=0.1",),
        ("learner.zeros=12", "learner.num_ctx=16"),  # the start of the released code
    ),
    "clip-adapter": (("lr=1e-5",), ("lr=1e-4",), ("lr=1e-3",), ("lr=3e-3",)),
    "tip-adapter": (("learner.alpha=0.3",), ("learner.alpha=3",)),
    "tip-adapter-f": (
        ("lr=1e-4",),
        ("lr=1e-3",),
        ("lr=1e-3", "learner.alpha=3"),
        ("adam_eps=1e-4", "last_batch=keep"),  # as released
    ),
    "linear-probe": (("lr=0.001",), ("lr=0.003",), ("lr=0.03",), ("lr=0.1",)),
    "lp++": (
        ("learner.views=1", "learner.steps=300", "learner.alpha=250"),
        ("learner.views=1", "learner.steps=300"),
        ("learner.views=1",),
        ("learner.views=10", "learner.steps=300"),
    ),
    "gda": (
        ("learner.alpha=0.1",),
        ("learner.alpha=0.3",),
        ("learner.alpha=1",),
        ("learner.alpha=3",),
        ("learner.alpha=1", "learner.views=10"),
    ),
    "prolip": (("lr=1e-5",), ("lr=3e-5",), ("lr=3e-4",), ("lr=1e-4", "learner.pull=0.01")),
    "llu": (
        ("learner.pull=1e4",),
        ("learner.pull=1e3",),
        ("learner.gamma=3",),
        ("learner.gate=0.8",),
    ),
    "clip-lora": (("epochs=10", "lr=0.001"), ("lr=0.001",)),
    "2sfs": (("epochs=10",), ("lr=0.004",)),
    "vpt": (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    "deep-language": (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    "ivlp": (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
    "maple": (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
    "promptsrc": (("lr=0.001",), ("lr=0.0025",), ("lr=0.01",), ("lr=0.05",)),
    "coprompt": (("lr=0.001",), ("lr=0.0035",), ("lr=0.01",), ("lr=0.05",)),
}
DIFFUSION: tuple[Settings, ...] = (
    ("diffusion.prediction=edm", "diffusion.noise=log_normal"),
    ("diffusion.prediction=flow", "diffusion.noise=uniform_u"),
    ("fit.condition_noise=1",),
    ("diffusion.drop_condition=0.1", "diffusion.guidance=2"),
    ("fit.normaliser=whiten",),
    ("diffusion.ensemble=8",),
    ("fit.condition_noise=1", "diffusion.ensemble=8"),
    ("diffusion.sigma_start=1",),
    ("fit.ce_weight=1",),
    ("fit.pi=meta_net",),
)  # tried with every learner of the study
_CE, _JOINT = "fit.ce_weight=1", "fit.mode=joint"
OPTIONS: tuple[Settings, ...] = (
    (_CE,),  # eq. 8 with beta 1, then ProtoDiff's 10 and less than 1
    (_CE, "fit.beta=10"),
    (_CE, "fit.beta=0.1"),
    (_CE, "fit.classes=5"),
    (_CE, "diffusion.ce_max_sigma=5"),
    (_JOINT, _CE),
    (_JOINT, _CE, "fit.normaliser=none"),
    (_JOINT, _CE, "fit.normaliser=none", "fit.stop_gradient=true"),
    ("fit.normaliser=residual_token",),
    ("fit.recipe=sgd", "fit.lr=0.0035"),
    ("overfit.negatives=4",),
    ("overfit.optimiser=adam",),
    ("overfit.optimiser=adam", "overfit.steps=10", "overfit.lr=1e-6"),  # ProtoDiff's
    ("diffusion.prediction=eps",),
    ("diffusion.prediction=v",),
    ("diffusion.schedule=cosine",),
    ("diffusion.noise=steps",),
    ("diffusion.weight=min_snr",),
    ("diffusion.time_tokens=4",),
    ("diffusion.sampler=amed",),
    ("diffusion.network=paper",),
)  # what else can be set of the training: one row each says what it is worth
GENERATED = Evaluation(controls="basic")
PLAIN = Evaluation(controls="none")


def jobs(args: argparse.Namespace) -> list[MatrixJob]:
    """Return the recipe of every learner and generator that was asked for, and its settings."""
    settings = OPTIONS if args.grid == "options" else DIFFUSION
    grids = {NO_GENERATOR: LEARNERS, "diffusion": dict.fromkeys(IN_STUDY, settings)}
    found = []
    for generator in args.generators:
        for learner, chosen in _grid(grids[generator], args):
            evaluation = PLAIN if generator == NO_GENERATOR else GENERATED
            for seed in args.seeds:
                job = JobConfig(
                    data=args.data, backbone=args.backbone, learner=learner, generator=generator,
                    seed=seed, protocol="holdout", overrides=chosen, setting=" ".join(chosen),
                    precision=args.precision, runs_dir=args.runs_dir,
                )  # fmt: skip
                found.append(MatrixJob(job=job, evaluation=evaluation))
    return found


def _grid(
    grids: dict[str, tuple[Settings, ...]], args: argparse.Namespace
) -> list[tuple[str, Settings]]:
    """Return (learner, settings), setting by setting, so that early results cover all learners."""
    chosen = {name: ((), *grid) for name, grid in grids.items() if name in args.learners}
    longest = max(map(len, chosen.values()), default=0)
    return [(n, grid[i]) for i in range(longest) for n, grid in chosen.items() if i < len(grid)]


def main() -> int:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="caltech101")
    parser.add_argument("--backbone", default="photo-clip-lite")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--learners", nargs="+", choices=list(LEARNERS), default=list(IN_STUDY))
    names = (NO_GENERATOR, "diffusion")
    parser.add_argument("--generators", nargs="+", choices=names, default=list(names))
    parser.add_argument("--grid", choices=("recipes", "options"), default="recipes")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/holdout"))
    parser.add_argument("--results", type=Path, default=Path("runs/holdout/records"))
    parser.add_argument("--jobs", type=int, default=0, help="at a time; 0: one per core")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    failures = run_matrix(
        plan(jobs(args)), results=args.results, parallel=args.jobs or cores(), threads=1
    )
    for failure in failures:
        logging.error("failed: %s: %s", failure.planned.title, failure.error)
    logging.info("next: diffuprompt report %s", args.results)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
