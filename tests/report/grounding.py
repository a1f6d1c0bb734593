"""Made-up records of grounding jobs with known rates of hits; nothing here looks at a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.record_grounding import GroundingJob, GroundingRecord

KINDS = ("plain", "extreme", "relation")
RATES = {"zero-shot": 0.45, "diff-prompt": 0.75, "regression": 0.7, "oracle": 0.98, "globals": 0.5}


def expression_scores(
    method: str, seed: int, *, test: str = "scenes", total: int = 60, rate: float | None = None
) -> ExpressionScores:
    """Return scores of two expressions a picture; methods and seeds agree on hard expressions."""
    hard = np.random.default_rng(len(test)).random(total)
    rng = np.random.default_rng([seed, sum(map(ord, method + test))])
    wanted = RATES.get(method, 0.55) if rate is None else rate
    hit = hard + rng.normal(0, 0.05, total) < wanted
    ranks = np.where(hit, 0, rng.integers(-1, 12, total))
    strict = np.where(rng.random(total) < 0.9, ranks, -1)
    return ExpressionScores.of(
        test=test,
        content=f"content of {test}",
        pictures=[f"{i // 2}.png" for i in range(total)],
        kinds=[KINDS[i % 3] for i in range(total)],
        ranks=ranks.tolist(),
        giou_ranks=strict.tolist(),
        mask_ious=None if method == "zero-shot" else rng.random(total).tolist(),
        timings={"generate_ms": 2.5, "detect_ms": 10.0 + seed},
    )


def grounding_record(
    method: str,
    seed: int = 1,
    *,
    dataset: str = "scenes",
    tests: Sequence[str] = (),
    setting: str = "",
    total: int = 60,
    rate: float | None = None,
    trainable: int = 32_000,
) -> GroundingRecord:
    """Return a record of one job; zero-shot trains nothing."""
    untrained = method == "zero-shot"
    return GroundingRecord(
        job=GroundingJob(
            dataset=dataset,
            detector=f"tiny-glip-{dataset}",
            detector_hash="d0",
            method=method,
            seed=seed,
            expressions=0 if untrained else 20_000,
            setting=setting,
        ),
        tests=tuple(
            expression_scores(method + setting, seed, test=test, total=total, rate=rate)
            for test in (dataset, *tests)
        ),
        trainable_parameters=0 if untrained else trainable,
        total_parameters=2_290_000,
        seconds={} if untrained else {"prompts": 100.0 + seed},
        statistics={"peak_memory_mib": 500.0},
        hashes={"detector": "d0"},
        environment={"python": "3.11.2", "torch": "2.13.0"},
        config={"method": method, "seed": seed, **({"setting": setting} if setting else {})},
        command=f"diffuprompt ground train --data {dataset} --method {method} --seed {seed}",
    )


def write_grounding(folder: Path, records: Sequence[GroundingRecord]) -> Path:
    """Write records as a study keeps them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, record in enumerate(records):
        (folder / f"{i:03}.json").write_text(record.model_dump_json(indent=1))
    return folder
