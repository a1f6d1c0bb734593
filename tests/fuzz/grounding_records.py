"""Records of grounding jobs, damaged: read, and counted again by a plain loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_json
from tests.report.grounding import grounding_record

from diffuprompt.record_file import read_any_record

Material = list[dict[str, Any]]


def material(_folder: Path) -> Material:
    made = [grounding_record(method, total=20) for method in ("zero-shot", "diff-prompt")]
    return [json.loads(record.model_dump_json()) for record in made]


def examples(records: Material) -> st.SearchStrategy[Example]:
    one = st.sampled_from(records).flatmap(damaged_json)
    return one.map(lambda pair: Example(what=pair[0], names=("record.json",)))


def check(_records: Material, example: Example, folder: Path) -> None:
    path = folder / "record.json"
    path.write_bytes(example.what)
    record = read_any_record(path)
    if record.task != "grounding":
        raise Silent("read as a record of another task")
    problems = [f"seconds {n}" for n, v in record.seconds.items() if not 0 <= v < math.inf]
    problems += [f"statistics {n}" for n, v in record.statistics.items() if not math.isfinite(v)]
    for scores in getattr(record, "tests", ()):
        ranks, pictures = scores.ranks(), scores.pictures()
        if not len(ranks) == len(pictures) == len(scores.kind_names()) == scores.total:
            problems.append(f"{len(ranks)} ranks for {scores.total} expressions")
        for name, most in (("r1", 1), ("r5", 5), ("ub", 255)):
            found = sum(1 for rank in ranks if 0 <= rank < most)
            if abs(100 * found / scores.total - scores.metrics[name]) > 1e-2:
                problems.append(f"{found} of {scores.total} ranks, {name} {scores.metrics[name]}")
    if problems:
        raise Silent("; ".join(problems))


GROUP = Group(name="grounding-records", material=material, examples=examples, check=check)
