"""Made-up records with known accuracies; nothing here looks at a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffuprompt.record import Job, Record, Score, Variant, pack_hits
from diffuprompt.report.names import CONTROLS

Made = str | Variant

ACCURACY: dict[Made, tuple[float, float]] = {  # -> (base, new)
    "own": (0.80, 0.60),
    "diffusion": (0.82, 0.66),
    "regression": (0.815, 0.65),
    "shuffled": (0.79, 0.61),
    "noise": (0.78, 0.59),
    "nearest": (0.79, 0.60),
    "mean": (0.80, 0.605),
    "oracle": (0.95, 0.90),
}


def variant(made: Made, generator: str = "diffusion") -> Variant:
    """Return a variant by a short name: "own", a control's name, or a generator's."""
    if isinstance(made, Variant):
        return made
    if made == "own":
        return Variant.own()
    return Variant.of_control(made, generator) if made in CONTROLS else Variant.generated(made)


def score(made: Made, subset: str, hits: list[bool], dataset: str = "scenes") -> Score:
    """Return a score whose accuracy follows from its hits."""
    accuracy = 100 * sum(hits) / len(hits)
    selective = dict.fromkeys(("selective_50", "selective_80", "selective_90"), 90.0)
    return Score(
        variant=variant(made),
        dataset=dataset,
        subset=subset,
        total=len(hits),
        metrics={
            "accuracy": accuracy, "macro_f1": accuracy, "nll": 0.7, "ece": 5.0, **selective,
            "aurc": 12.5,
        },
        hits=pack_hits(hits),
    )  # fmt: skip


def plus(record: Record, *scores: Score) -> Record:
    """Return the record with further scores."""
    return record.model_copy(update={"scores": (*record.scores, *scores)})


def record(
    *,
    learner: str = "cocoop",
    generator: str = "diffusion",
    seed: int = 1,
    accuracy: Mapping[Made, tuple[float, float]] | None = None,
    total: int = 200,
    dataset: str = "scenes",
    backbone: str = "scenes-clip",
    protocol: str = "base-to-new",
    shots: int = 16,
    setting: str = "",
    command: str | None = None,
) -> Record:
    """Return a record with correlated random hits around the given base and new accuracies."""
    if accuracy is None:
        accuracy = ACCURACY if generator != "none" else {"own": ACCURACY["own"]}
    scores = []
    for k, subset in enumerate(("base", "new")):
        difficulty = np.random.default_rng(k).random(total)  # shared: methods agree on images
        for v, (made, wanted) in enumerate(accuracy.items()):
            noise = np.random.default_rng([seed, k, v]).normal(0, 0.05, total)
            hits = (difficulty + noise < wanted[k]).tolist()
            scores.append(score(variant(made, generator), subset, hits, dataset))
    stages = {"learner": 12.5 + seed} if learner != "zero-shot" else {}
    if generator != "none":
        stages |= {"overfit": 40.0, generator: 30.25}
    return Record(
        job=Job(
            dataset=dataset,
            backbone=backbone,
            learner=learner,
            generator=generator,
            protocol=protocol,
            shots=shots,
            seed=seed,
            setting=setting,
        ),
        scores=tuple(scores),
        trainable_parameters={"zero-shot": 0, "coop": 2048}.get(learner, 35360),
        seconds={**stages, "evaluate": 3.5},
        statistics={"images_per_second": 410.0, "peak_memory_mib": 512.0},
        hashes={"manifest": "aa", "backbone": "bb", "spec": "cc"},
        environment={"python": "3.11.2", "torch": "2.13.0"},
        config={"lr": 0.002, "epochs": 50},
        command=command
        or f"diffuprompt train --data {dataset} --learner {learner} --generator {generator} "
        f"--shots {shots} --seed {seed} --out /home/someone/runs/x",
    )


def study() -> list[Record]:
    """Return zero-shot (once), CoOp, CoCoOp and CoCoOp + diffusion over seeds 1, 2, 3."""
    zero: dict[Made, tuple[float, float]] = {"own": (0.72, 0.64)}
    out = [record(learner="zero-shot", generator="none", protocol="base-to-new", shots=0,
                  accuracy=zero)]  # fmt: skip
    for seed in (1, 2, 3):
        out.append(
            record(learner="coop", generator="none", seed=seed, accuracy={"own": (0.83, 0.52)})
        )
        out.append(record(generator="none", seed=seed))
        out.append(record(seed=seed))
    return out


def write(folder: Path, records: list[Record]) -> Path:
    """Write records as ``results/<study>/<job>.json`` under ``folder`` and return ``results``."""
    for r in records:
        job = r.job
        path = (
            folder
            / "results"
            / job.dataset
            / f"{job.learner}-{job.generator}-{job.seed}{job.setting}.json"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(r.model_dump_json())
    return folder / "results"
