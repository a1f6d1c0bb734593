"""Records of grounding jobs: packed expressions, metrics that must follow from them, one door."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.report import factory
from tests.report.grounding import grounding_record

from diffuprompt.errors import DataError
from diffuprompt.record import read_record
from diffuprompt.record_expressions import ExpressionScores, recalls
from diffuprompt.record_fields import pack_numbers, unpack_numbers
from diffuprompt.record_file import read_any_record
from diffuprompt.record_grounding import GroundingRecord, read_grounding_record


def scores(**changed: Any) -> ExpressionScores:
    given: dict[str, Any] = {
        "test": "scenes",
        "content": "c0",
        "pictures": ["b.png", "a.png", "b.png", "c.png"],
        "kinds": ["plain", "relation", "plain", "extreme"],
        "ranks": [0, 6, -1, 3],
        "giou_ranks": [0, -1, -1, 4],
        "mask_ious": [1.0, 0.5, 0.0, 0.125],
    }
    return ExpressionScores.of(**{**given, **changed})


def test_what_is_packed_is_unpacked() -> None:
    made = scores()
    assert made.pictures() == [0, 1, 0, 2]
    assert made.kind_names() == ["plain", "relation", "plain", "extreme"]
    assert made.ranks() == [0, 6, -1, 3]
    assert made.giou_ranks() == [0, -1, -1, 4]
    assert made.mask_ious() == [1.0, 0.5, 0.0, 0.125]
    assert scores(mask_ious=None).mask_ious() is None


def test_metrics_are_counted_from_the_expressions() -> None:
    assert scores().metrics == {
        "r1": 25.0, "r5": 50.0, "r10": 75.0, "ub": 75.0,
        "giou_r1": 25.0, "giou_r5": 50.0, "giou_r10": 50.0, "giou_ub": 50.0,
        "mask_iou": 40.625,
    }  # fmt: skip
    assert "mask_iou" not in scores(mask_ious=None).metrics
    assert recalls([0, 0, -1])["r1"] == 200 / 3, "full precision"


def test_numbers_of_any_order_survive_packing() -> None:
    rng = random.Random(0)
    for total, width, most in ((1, 1, 255), (700, 1, 255), (700, 4, 2**32 - 1)):
        numbers = [rng.randint(0, most) for _ in range(total)]
        assert unpack_numbers(pack_numbers(numbers, width), total, width) == numbers
    pictures = [str(rng.randint(0, 60)) for _ in range(300)]
    found = scores(
        pictures=pictures, kinds=[""] * 300, ranks=[0] * 300, giou_ranks=[0] * 300, mask_ious=None
    ).pictures()
    first = {name: i for i, name in enumerate(dict.fromkeys(pictures))}
    assert found == [first[name] for name in pictures]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64",
        pack_numbers([1, 2]),
        pack_numbers([1] * 4),
        pack_numbers([1] * 3)[:-4],
        pack_numbers([0] * 10**6),
    ],
)
def test_damaged_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="numbers are damaged"):
        unpack_numbers(text, 3)


def test_tens_of_thousands_of_expressions_stay_small() -> None:
    rng = random.Random(1)
    total = 30_000
    ranks = [
        min(99, int(rng.expovariate(0.7))) if rng.random() < 0.97 else -1 for _ in range(total)
    ]
    made = scores(
        pictures=[str(i // 3) for i in range(total)],
        kinds=[rng.choice(("plain", "extreme", "relation")) for _ in range(total)],
        ranks=ranks,
        giou_ranks=[r if rng.random() < 0.9 else -1 for r in ranks],
        mask_ious=[rng.random() for _ in range(total)],
    )
    assert len(made.model_dump_json()) < 100_000
    assert made.ranks() == ranks


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ranks": [255, 0, 0, 0]}, "rank: expected -1 for no hit or 0 to 254, got 255"),
        ({"ranks": []}, "expected at least one expression"),
        ({"kinds": ["plain"]}, "numbers are damaged"),
        ({"giou_ranks": [0, -1, 2, 4]}, "giou_rank: expected no good box before that of rank"),
        ({"giou_ranks": [0, -1, -1, 2]}, "giou_rank: expected no good box before that of rank"),
        ({"mask_ious": [1.01, 0, 0, 0]}, "mask_iou: expected 0 to 200 half per cents, got 202"),
        ({"mask_ious": [-0.5, 0, 0, 0]}, "numbers do not fit"),
    ],
)
def test_impossible_scores_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores(**changed)


def stored(tmp_path: Path, **changed: Any) -> Path:
    """Write a record whose first test set has other fields than it should."""
    data = json.loads(grounding_record("diff-prompt").model_dump_json())
    data["tests"][0] |= changed
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    return path


def test_one_door_says_which_task_a_file_is_of(tmp_path: Path) -> None:
    made = grounding_record("coop")
    path = tmp_path / "g.json"
    path.write_text(made.model_dump_json())
    assert read_any_record(path) == read_grounding_record(path) == made
    assert read_any_record(path).task == "grounding"
    other = tmp_path / "c.json"
    other.write_text(factory.record().model_dump_json())
    assert read_any_record(other) == read_record(other)
    assert read_any_record(other).task == "classification"
    with pytest.raises(
        DataError, match=r"g\.json: not a record: .*grounding-record/1'; .*record/2"
    ):
        read_record(path)
    with pytest.raises(DataError, match=r"c\.json: not a record"):
        read_grounding_record(other)
    path.write_text('{"schema_name": "diffuprompt.grounding-record/2"}')
    with pytest.raises(DataError, match="newer version"):
        read_any_record(path)


def test_a_changed_rank_is_refused(tmp_path: Path) -> None:
    made = grounding_record("diff-prompt").tests[0]
    ranks = made.ranks()
    first = ranks.index(0)
    kept = [r if r >= 0 else 255 for r in ranks]
    kept[first] = 1
    path = stored(tmp_path, rank=pack_numbers(kept), giou_rank=pack_numbers([255] * made.total))
    with pytest.raises(DataError, match=r"(?s)record\.json.*tests\.0.*r1 is .*its expressions say"):
        read_any_record(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("r5"), "r5 is missing"),
        (lambda m: m.update(r7=1.0), "r7 is not known"),
        (lambda m: m.update(ub=101.0), "ub: expected 0 to 100 per cent"),
        (lambda m: m.update(mask_iou=1.0), "mask_iou is 1.0, its expressions say"),
        (lambda m: m.update(r1=m["r1"] + 0.01), "r1 is "),
    ],
)
def test_other_metrics_than_the_expressions_say_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    metrics = dict(grounding_record("diff-prompt").tests[0].metrics)
    change(metrics)
    with pytest.raises(DataError, match=message):
        read_any_record(stored(tmp_path, metrics=metrics))


def test_pictures_and_kinds_are_numbered_in_one_way_only(tmp_path: Path) -> None:
    made = grounding_record("diff-prompt").tests[0]
    late = pack_numbers([1] + [0] * (made.total - 1), width=4)
    with pytest.raises(DataError, match="picture: expected numbers from 0"):
        read_any_record(stored(tmp_path, picture=late))
    with pytest.raises(DataError, match="kind: expected all of the 4 kinds"):
        read_any_record(stored(tmp_path, kinds=[*made.kinds, "more"]))


def test_a_test_set_stands_once_and_parameters_add_up() -> None:
    made = grounding_record("diff-prompt")
    data = json.loads(made.model_dump_json())
    with pytest.raises(ValueError, match="scenes: expected each test set once"):
        GroundingRecord.model_validate({**data, "tests": [data["tests"][0]] * 2})
    with pytest.raises(ValueError, match="total_parameters: expected at least"):
        GroundingRecord.model_validate({**data, "total_parameters": 1})
    assert made.scores("scenes") == made.tests[0]
    assert made.scores("nowhere") is None
