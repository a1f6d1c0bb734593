"""Does `diffuprompt choose` find the method that is best on the test set?

    python -m benchmarks.choose --data caltech101 --backbone photo-clip-lite --seeds 1 2 3
    python -m benchmarks.choose --data scenes --seeds 1 2 3 --bound 2
    python -m benchmarks.choose --folders 3 --backbone photo-clip-lite --bound 2

For every seed: choose under the budget, then train and score every candidate on the test set
(protocol few-shot), which `choose` has never seen, and compare. ``gap`` is the best accuracy on the
test set minus that of the pick, in points; it ``meets`` the bound where it is no more than
``--bound``, or, with ``--interval``, where the pick lies within the 95 % interval of the best.
``--folders N`` makes N folders of 6 classes x 12 photographs of Caltech101, whose few test pictures
have the interval count without being asked. ``--tested`` names the learners that are scored on the
test set, without generators, where all would take hours; the pick always is, and all of them are
still candidates. What is finished is not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffuprompt.choosing import Choice, Question, choose
from diffuprompt.data import open_dataset
from diffuprompt.engine import LogProgress, cores
from diffuprompt.jobs import NO_GENERATOR, Evaluation, JobConfig
from diffuprompt.matrix import MatrixJob, plan, run_matrix
from diffuprompt.record import Record, read_record
from diffuprompt.report import wilson

SOURCE, CLASSES, PICTURES = "caltech101", 6, 12
PLAIN = Evaluation(controls="none", oracle=False)
log = logging.getLogger("diffuprompt.benchmarks")


def folder_of(number: int, place: Path) -> Path:
    """Return a folder of some photographs of Caltech101, drawn by its number; made once."""
    folder = place / f"folder{number}"
    if folder.exists():
        return folder
    manifest, rng = open_dataset(SOURCE), random.Random(number)
    of_class: dict[int, list[str]] = defaultdict(list)
    for items in manifest.splits.values():
        for item in items:
            of_class[item.label].append(item.path)
    enough = sorted(label for label, paths in of_class.items() if len(paths) >= PICTURES)
    for label in rng.sample(enough, CLASSES):
        inside = folder.with_suffix(".part") / manifest.classes[label]
        inside.mkdir(parents=True)
        for path in rng.sample(sorted(of_class[label]), PICTURES):
            shutil.copy(manifest.root / path, inside / Path(path).name)
    return folder.with_suffix(".part").rename(folder)


def to_test(choice: Choice, tested: Sequence[str]) -> list[tuple[str, str]]:
    """Return what was tried, as learner and generator; with ``tested`` these learners and the pick.

    Without generators, unless the pick has one.
    """
    pick = (choice.winner.learner, choice.winner.generator)
    tried = [(row.learner, row.generator) for row in choice.rows]
    return [
        (learner, generator)
        for learner, generator in tried
        if not tested
        or (learner, generator) == pick
        or (learner in tested and generator == NO_GENERATOR)
    ]


def on_test(choice: Choice, jobs: int, tested: Sequence[str] = ()) -> dict[tuple[str, str], Record]:
    """Train what `to_test` says on all training images, and score the test set."""
    question = choice.question
    asked = {
        (learner, generator): JobConfig(
            data=question.data,
            data_root=question.data_root,
            backbone=question.backbone,
            shots=question.shots,
            seed=question.seed,
            runs_dir=question.runs_dir,
            protocol="few-shot",
            learner=learner,
            generator=generator,
        )
        for learner, generator in to_test(choice, tested)
    }
    planned = plan([MatrixJob(job=job, evaluation=PLAIN) for job in asked.values()])
    for failure in run_matrix(planned, results=None, parallel=jobs, threads=1):
        log.error("failed: %s: %s", failure.planned.title, failure.error)
    records = [read_record(p.record) for p in planned if p.is_finished]
    return {(r.job.learner, r.job.generator): r for r in records}


def compared(
    choice: Choice, records: dict[tuple[str, str], Record], bound: float, *, interval: bool
) -> dict[str, Any]:
    """Return the pick and the best on the test set, and whether the gap is within the bound.

    With ``interval`` it may also be within the 95 % interval of the best.
    """
    hits = {name: _hits(record) for name, record in records.items()}
    shares = {name: 100 * sum(of) / len(of) for name, of in hits.items()}
    pick = (choice.winner.learner, choice.winner.generator)
    best = max(shares, key=lambda name: shares[name])
    low, high = wilson(sum(hits[best]), len(hits[best]))
    gap = 100 * (sum(hits[best]) - sum(hits[pick])) / len(hits[best])
    return {
        "data": choice.question.data,
        "seed": choice.question.seed,
        "pick": "+".join(pick),
        "pick_accuracy": shares[pick],
        "best": "+".join(best),
        "best_accuracy": shares[best],
        "best_interval": [low, high],
        "gap": gap,
        "meets": gap <= bound or (interval and shares[pick] >= low),
        "pictures": len(hits[best]),
        "tried": len(shares),
        "complete": choice.complete,
        "minutes": choice.seconds / 60,
        "test": {"+".join(name): share for name, share in sorted(shares.items())},
        "held_out": {f"{r.learner}+{r.generator}": r.accuracy for r in choice.rows},
    }


def _hits(record: Record) -> list[bool]:
    """Return the hits of what the job is about: generated prompts, where there are any."""
    scores = [score for score in record.scores if score.variant.prompts != "control"]
    return list(scores[-1].hit_list())


def main() -> int:
    """Measure, and print one JSON list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="")
    parser.add_argument("--folders", type=int, default=0)
    parser.add_argument("--backbone", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--learners", nargs="+", default=[])
    parser.add_argument("--generators", nargs="+", default=[])
    parser.add_argument("--tested", nargs="+", default=[])
    parser.add_argument("--bound", type=float, default=1.0)
    parser.add_argument(
        "--interval",
        action=argparse.BooleanOptionalAction,
        help="whether the interval of the best will do; by default for --folders alone",
    )
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/choose"))
    parser.add_argument("--jobs", type=int, default=0, help="at a time; 0: one per core")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made = [str(folder_of(i, args.runs_dir / "folders")) for i in range(args.folders)]
    found = []
    for data in [args.data] * bool(args.data) + made:
        for seed in args.seeds:
            question = Question(
                data=data,
                backbone=args.backbone,
                seed=seed,
                minutes=args.minutes,
                learners=tuple(args.learners),
                generators=tuple(args.generators),
                runs_dir=args.runs_dir,
            )
            choice = choose(question, LogProgress())
            records = on_test(choice, args.jobs or cores(), args.tested)
            interval = data in made if args.interval is None else args.interval
            found.append(compared(choice, records, args.bound, interval=interval))
            print(json.dumps(found[-1]), flush=True)
    missed = [one for one in found if not one["meets"]]
    log.info(
        "%d of %d within %g points, or the interval where it counts",
        *(len(found) - len(missed), len(found), args.bound),
    )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
