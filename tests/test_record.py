"""The record: typed variants, what is refused, and the upgrade of schema 1."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from diffuprompt.errors import DataError
from diffuprompt.record import (
    Job,
    Record,
    Score,
    Variant,
    pack_hits,
    read_record,
    unpack_hits,
    upgrade,
)

RESULTS = Path(__file__).parents[1] / "results"
OLD: dict[str, Any] = {  # as version 0.1 wrote it
    "schema_name": "diffuprompt.record/1",
    "job": {
        "dataset": "scenes", "backbone": "scenes-clip", "learner": "cocoop",
        "generator": "diffusion", "protocol": "base-to-new", "shots": 16, "seed": 1,
        "setting": "overfit.steps=3",
    },
    "scores": [
        {
            "variant": "own", "subset": "base", "correct": 1, "total": 3,
            "accuracy": 33.33333333333333, "macro_f1": 25.5, "nll": 0.75, "ece": 5.25,
            "selective": {"50": 98.5, "80": 92.25}, "aurc": 3.5, "generate_ms": None,
            "classify_ms": 4.5, "hits": "gA==",
        },
        {
            "variant": "diffusion@nfe=10", "subset": "new", "correct": 3, "total": 3,
            "accuracy": 100.0, "macro_f1": 100.0, "nll": 0.5, "ece": 1.0, "selective": None,
            "aurc": None, "generate_ms": 2.0, "classify_ms": 4.0, "hits": "4A==",
        },
    ],
    "trainable_parameters": 35360,
    "seconds": {"learner": 12.5, "evaluate": 3.0},
    "statistics": {"images_per_second": 410.0},
    "hashes": {"manifest": "aa"},
    "environment": {"python": "3.11.2"},
    "config": {"overfit": {"steps": 3}},
    "command": "diffuprompt train --data scenes",
}  # fmt: skip
NEW: dict[str, Any] = {
    **OLD,
    "schema_name": "diffuprompt.record/2",
    "task": "classification",
    "scores": [
        {
            "variant": {"prompts": "own"}, "dataset": "scenes", "subset": "base", "total": 3,
            "metrics": {
                "accuracy": 33.33333333333333, "macro_f1": 25.5, "nll": 0.75, "ece": 5.25,
                "selective_50": 98.5, "selective_80": 92.25, "aurc": 3.5,
            },
            "hits": "gA==", "timings": {"classify_ms": 4.5},
        },
        {
            "variant": {"prompts": "generated", "generator": "diffusion", "nfe": 10},
            "dataset": "scenes", "subset": "new", "total": 3,
            "metrics": {"accuracy": 100.0, "macro_f1": 100.0, "nll": 0.5, "ece": 1.0},
            "hits": "4A==", "timings": {"generate_ms": 2.0, "classify_ms": 4.0},
        },
    ],
}  # fmt: skip


def test_the_golden_record_of_schema_1_becomes_the_one_of_schema_2(tmp_path: Path) -> None:
    before = copy.deepcopy(OLD)
    assert upgrade(OLD) == NEW
    assert before == OLD, "the upgrade leaves what it is given as it was"
    (tmp_path / "x.json").write_text(json.dumps(OLD))
    record = read_record(tmp_path / "x.json")
    assert record == Record.model_validate(NEW)
    (tmp_path / "y.json").write_text(record.model_dump_json())
    assert read_record(tmp_path / "y.json") == record


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("own", Variant.own()),
        ("diffusion", Variant.generated("diffusion")),
        ("diffusion@nfe=10", Variant.generated("diffusion", nfe=10)),
        ("diffusion@samples=8", Variant.generated("diffusion", draws=8)),
        ("oracle", Variant.of_control("oracle", "diffusion")),
        ("regression", Variant.of_control("regression", "diffusion")),
    ],
)
def test_strings_of_schema_1_become_variants_that_show_them(text: str, variant: Variant) -> None:
    old = copy.deepcopy(OLD)
    old["scores"] = [{**OLD["scores"][0], "variant": text}]
    (score,) = Record.model_validate(upgrade(old)).scores
    assert score.variant == variant
    assert score.variant.label == text
    assert {variant: 1}[score.variant] == 1, "variants are keys"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="an sdist has no results/")
def test_every_shipped_record_is_upgraded_without_loss() -> None:
    files = [path for path in sorted(RESULTS.rglob("*.json")) if path.name != "summary.json"]
    assert len(files) >= 254
    for path in files:
        old = json.loads(path.read_text())
        if old["schema_name"] != "diffuprompt.record/1":
            continue
        new = read_record(path)
        for before, after in zip(old["scores"], new.scores, strict=True):
            assert after.variant.label == before["variant"]
            assert after.accuracy == before["accuracy"]
            assert sum(after.hit_list()) == before["correct"]
            assert after.dataset == new.job.dataset


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_name": "diffuprompt.record/3"}', r"record/3; this .*/1 and .*/2\. .*--upgrade"),
        ('{"schema_name": "other"}', "not a record: its schema is 'other'"),
        ("{}", "not a record: it names no schema"),
        ("[]", "not a record: it names no schema"),
        ("{", "not valid JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_file_and_what_can(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def _set(data: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    out = copy.deepcopy(data)
    target: Any = out
    *parents, last = place.split(".")
    for name in parents:
        target = target[int(name)] if isinstance(target, list) else target[name]
    target[last] = value
    return out


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("trainable_parameters", -1),
        ("job.shots", -1),
        ("job.protocol", ""),
        ("job.unknown", "x"),
        ("seconds.learner", -0.5),
        ("statistics.images_per_second", float("inf")),
        ("scores.0.total", 0),
        ("scores.0.dataset", ""),
        ("scores.0.subset", "old"),
        ("scores.0.metrics", {}),
        ("scores.0.metrics", {"nll": 1.0}),
        ("scores.0.metrics.accuracy", float("nan")),
        ("scores.0.metrics.accuracy", True),
        ("scores.0.metrics", {"accuracy": 100 / 3, "accuracy ": 1e31}),
        ("scores.0.total", True),
        ("scores.0.total", 3.0),
        ("scores.0.total", 10**400),
        ("scores.0.hits", None),
        ("scores", []),
        ("scores.0.variant.prompts", None),
        ("scores.1.variant.generator", " "),
        ("trainable_parameters", True),
        ("trainable_parameters", 10**30),
        ("job.shots", True),
        ("job.seed", -1),
        ("job.seed", "1"),
        ("job.seed", 2**64),
        ("job.dataset", " \t "),
        ("job.dataset", "\x1b[2J"),
        ("job.setting", "a\nb"),
        ("job.learner", "x" * 1001),
        ("hashes.manifest", "\x00"),
        ("environment.python", "\x07"),
        ("command", "diffuprompt\x1b[1m"),
        ("seconds", {" ": 1.0}),
        ("seconds.learner", True),
        ("seconds.learner", 1e308),
        ("statistics.images_per_second", -1e308),
        ("scores.0.timings.classify_ms", -1.0),
        ("scores.0.variant.prompts", "borrowed"),
        ("scores.1.variant.nfe", 0),
        ("scores.1.variant.draws", 0),
        ("task", "grounding"),
    ],
)
def test_wrong_values_are_refused_by_the_name_of_their_field(
    tmp_path: Path, place: str, value: object
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(NEW, place, value)))
    with pytest.raises(DataError, match=place.replace(".", r"\.")) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("value", [-0.5, 100.5, 1e20, -1e20])
@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "ece", "aurc", "selective_50"])
def test_shares_outside_0_to_100_are_refused_by_name(
    tmp_path: Path, name: str, value: float
) -> None:
    for i, data in enumerate((NEW, OLD)):
        path = tmp_path / f"{i}.json"
        place = {"selective_50": "selective.50"}.get(name, name) if i else f"metrics.{name}"
        path.write_text(json.dumps(_set(data, f"scores.0.{place}", value)))
        with pytest.raises(DataError, match=rf"scores\.0.*{name}") as caught:
            read_record(path)
        assert str(path) in str(caught.value)


def test_a_negative_likelihood_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(NEW, "scores.0.metrics.nll", -0.25)))
    with pytest.raises(
        DataError, match=r"scores\.0\.metrics.*nll: expected at least 0, got -0\.25"
    ):
        read_record(path)


@pytest.mark.parametrize("data", [NEW, OLD], ids=["schema 2", "schema 1"])
@pytest.mark.parametrize(
    ("hits", "message"),
    [
        ("gA", "not base64"),  # cut off
        ("g A==", "not base64"),
        ("\u00e9", "not base64"),
        ("", "hold 0 bytes, 3 items need 1"),
        ("gAAA", "hold 3 bytes, 3 items need 1"),
        ("wA==", r"accuracy is 33\.3.*its hits say 66\.6667"),
        ("gQ==", "bits are set behind"),
        ("gB==", "bits are set behind"),  # equal bytes, another text
    ],
)
def test_hits_that_are_damaged_or_contradict_the_accuracy_name_the_file(
    tmp_path: Path, hits: str, message: str, data: dict[str, Any]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(data, "scores.0.hits", hits)))
    with pytest.raises(DataError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    if "accuracy" not in message:
        with pytest.raises(DataError, match=message):
            unpack_hits(hits, 3)


def test_the_same_score_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(NEW, "scores", [NEW["scores"][0]] * 2)))
    with pytest.raises(DataError, match="own/base is there twice"):
        read_record(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("scores.0.total", 0),
        ("scores.0.correct", -1),
        ("scores.0.correct", True),
        ("scores.1.variant", "diffusion@nfe=0"),
        ("scores.1.variant", "diffusion@nfe=" + "9" * 5000),
        ("scores.1.variant", "diffusion@nfe=\u0663"),
        ("scores.1.variant", "diffusion@steps=3"),
        ("scores.1.variant", "@nfe=3"),
        ("job.generator", None),
        ("scores.0.nll", float("nan")),
        ("scores.0.subset", "old"),
        ("job.seed", None),
    ],
)
def test_wrong_values_of_schema_1_are_refused_too(
    tmp_path: Path, place: str, value: object
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(OLD, place, value)))
    with pytest.raises(DataError, match=place.replace(".", r"\.")):
        read_record(path)


def test_counts_of_schema_1_that_contradict_its_accuracy_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_set(OLD, "scores.0.correct", 2)))
    with pytest.raises(DataError, match=r"scores\.0.*accuracy is 33\.3.*say 66\.6667"):
        read_record(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompts": "own", "generator": "diffusion"},
        {"prompts": "own", "nfe": 3},
        {"prompts": "generated"},
        {"prompts": "generated", "generator": "diffusion", "control": "noise"},
        {"prompts": "control", "generator": "diffusion"},
        {"prompts": "control", "control": "noise"},
        {"prompts": "control", "control": "noise", "generator": "diffusion", "draws": 2},
    ],
)
def test_variants_that_contradict_themselves_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Variant(**wrong)


def test_both_numbers_of_a_variant_are_in_its_label() -> None:
    assert Variant.generated("x", nfe=3, draws=8).label == "x@nfe=3,samples=8"


def job() -> Job:
    return Job.model_validate(NEW["job"])


def test_a_record_scores_several_test_sets() -> None:
    record = Record.model_validate(NEW)
    own = record.scores[0]
    other = own.model_copy(update={"dataset": "caltech101", "subset": "all"})
    record = record.model_copy(update={"scores": (other, *record.scores)})
    assert record.score(Variant.own(), "base") == own
    assert record.score(Variant.own(), "all") is None
    assert record.score(Variant.own(), "all", "caltech101") == other


def test_a_score_without_accuracy_and_hits_says_so() -> None:
    made = Score(
        variant=Variant.own(), dataset="scenes", subset="all", total=7, metrics={"r1": 50.0}
    )
    with pytest.raises(DataError, match="no accuracy in it, only r1"):
        assert made.accuracy
    with pytest.raises(DataError, match="keeps no hits"):
        made.hit_list()


def test_hits_are_packed_eight_to_a_byte() -> None:
    hits = [True, False, True, *[False] * 6]
    score = Score(
        variant=Variant.own(), dataset="x", subset="all", total=9, metrics={"accuracy": 200 / 9},
        hits=pack_hits(hits),
    )  # fmt: skip
    assert score.hits == "oAA="
    assert score.hit_list() == hits
