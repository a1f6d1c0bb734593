"""Records, damaged: read, and made into a report."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_json
from tests.report import factory

from diffuprompt.record import read_record

Material = list[dict[str, Any]]


def material(_folder: Path) -> Material:
    made = [factory.record(total=20, generator=name) for name in ("none", "diffusion")]
    return [json.loads(record.model_dump_json()) for record in made]


def examples(records: Material) -> st.SearchStrategy[Example]:
    one = st.sampled_from(records).flatmap(damaged_json)
    return one.map(lambda pair: Example(what=pair[0], names=("record.json",)))


def check(_records: Material, example: Example, folder: Path) -> None:
    path = folder / "record.json"
    path.write_bytes(example.what)
    record = read_record(path)
    problems = [f"seconds {n}" for n, v in record.seconds.items() if not 0 <= v < math.inf]
    problems += [f"statistics {n}" for n, v in record.statistics.items() if not math.isfinite(v)]
    if record.trainable_parameters < 0 or record.job.shots < 0:
        problems.append("negative counts")
    texts = (record.job.dataset, record.job.backbone, record.job.learner, record.job.generator)
    problems += [f"empty name {text!r}" for text in texts if not text.strip()]
    for score in record.scores:
        for name, value in score.metrics.items():
            share = name in ("accuracy", "macro_f1", "ece") or name.startswith("selective_")
            if not math.isfinite(value) or (share and not 0 <= value <= 100):
                problems.append(f"{name} {value}")
        if score.hits is not None:
            raw = base64.b64decode(score.hits, validate=True)
            hits = sum(bin(byte).count("1") for byte in raw)
            if len(raw) != -(-score.total // 8):
                problems.append(f"{len(raw)} bytes of hits for {score.total} items")
            elif abs(100 * hits / score.total - score.accuracy) > 1e-2:
                problems.append(f"{hits} of {score.total} hits, accuracy {score.accuracy}")
    if problems:
        raise Silent("; ".join(problems))


GROUP = Group(name="records", material=material, examples=examples, check=check)
