"""Finding, reading and refusing records."""

from __future__ import annotations

import copy
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffuprompt.errors import DataError
from diffuprompt.report import build_report
from diffuprompt.report.load import find_records, load_records

from . import factory


def test_both_layouts_are_found_in_job_order(tmp_path: Path) -> None:
    results = factory.write(tmp_path, [factory.record(seed=2)])
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "environment.json").write_text("{}")
    (run / "record.json").write_text(factory.record(seed=1).model_dump_json())
    found = load_records([results, tmp_path / "runs", run / "record.json"])
    assert [s.record.job.seed for s in found] == [1, 2]


def test_hidden_folders_hold_no_records(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "record.json").write_text(factory.record().model_dump_json())
    stage = tmp_path / "runs" / ".stages" / "scores-0a1b"
    stage.mkdir(parents=True)
    (stage / "stage.json").write_text("{}")
    assert find_records([tmp_path]).files == (run / "record.json",)


def test_unfinished_runs_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("diffuprompt"), "propagate", True)
    factory.write(tmp_path, [factory.record()])
    broken_off = tmp_path / "runs" / "half"
    broken_off.mkdir(parents=True)
    (broken_off / "run.json").write_text("{}")
    assert len(load_records([tmp_path])) == 1
    assert "unfinished" in caplog.text
    assert str(broken_off) in caplog.text


def test_duplicates_name_both_files(tmp_path: Path) -> None:
    for name, total in (("a.json", 200), ("b.json", 100)):
        (tmp_path / name).write_text(factory.record(total=total).model_dump_json())
    with pytest.raises(DataError, match=r"(?s)same job.*a\.json.*b\.json"):
        load_records([tmp_path])


def test_a_record_that_two_studies_share_counts_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        factory.write(tmp_path / name, [factory.record()])
    assert len(load_records([tmp_path])) == 1


def test_of_a_run_that_was_scored_on_more_later_the_later_record_counts(tmp_path: Path) -> None:
    whole = factory.record()
    earlier = whole.model_copy(update={"scores": whole.scores[:1]})
    for name, record in (("a", earlier), ("b", whole), ("c", earlier)):
        (tmp_path / f"{name}.json").write_text(record.model_dump_json())
    (found,) = load_records([tmp_path])
    assert found.path == tmp_path / "b.json"
    trained_otherwise = earlier.model_copy(update={"config": {"train": {"epochs": 77}}})
    (tmp_path / "c.json").write_text(trained_otherwise.model_dump_json())
    with pytest.raises(DataError, match=r"(?s)same job.*a\.json.*b\.json.*c\.json"):
        load_records([tmp_path])


def test_ablations_are_other_jobs_and_summaries_and_benchmarks_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(factory.record().model_dump_json())
    other = factory.record(setting="overfit.steps=3")
    (tmp_path / "b.json").write_text(other.model_dump_json())
    (tmp_path / "summary.json").write_text(
        json.dumps({"schema_name": "diffuprompt.some-summary/1"})
    )
    assert [s.record.job.setting for s in load_records([tmp_path])] == ["", "overfit.steps=3"]
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "card.json").write_text('{"schema_name": "device-benchmark/1"}')
    found = find_records([tmp_path])
    assert found.summaries == (tmp_path / "summary.json",)
    assert sorted(path.name for path in found.files) == ["a.json", "b.json"]


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "syntax.json").write_text("{")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    missing = json.loads(factory.record().model_dump_json())
    del missing["job"]["seed"]
    (tmp_path / "field.json").write_text(json.dumps(missing))
    with pytest.raises(DataError) as caught:
        load_records([tmp_path])
    for part in ("syntax.json", "binary.json", "field.json", "job.seed"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"accuracy": 12.0}}, r"own/base: accuracy is 12\.0, its hits say \d+\.\d{4}"),
        ({"hits": "AA=="}, "hold 1 bytes, 200 items need 25"),
        ({"hits": "é"}, "base64"),
        ({"total": 0}, r"scores\.0\.total"),
        ({"subset": "new"}, "own/new is there twice"),
    ],
)
def test_contradictions_inside_a_record_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    data = json.loads(factory.record().model_dump_json())
    data["scores"][0].update(change)
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=message) as caught:
        load_records([tmp_path])
    assert "x.json" in str(caught.value)


WRONG: tuple[object, ...] = (
    None, [], {}, "x", " ", "\x1b[2J", -1, 1e308, True, 10**30, 1.5, [[[1]]], {"a": {"b": 1}},
)  # fmt: skip


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value inside a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*place, key))


def test_records_with_anything_wrong_are_reported_or_refused_by_file(tmp_path: Path) -> None:
    rng, refused, unnamed = random.Random(0), 0, []
    made = [factory.record(total=9, seed=seed, generator="none") for seed in (1, 2)]
    whole = [json.loads(record.model_dump_json()) for record in made]
    for number in range(150):
        first = copy.deepcopy(whole[0])
        *above, last = rng.choice(list(places(first)))
        target: Any = first
        for key in above:
            target = target[key]
        if rng.random() < 0.2:
            del target[last]
        else:
            target[last] = rng.choice(WRONG)
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in (("a.json", first), ("b.json", whole[1])):
            (folder / name).write_text(json.dumps(data))
        try:
            build_report(load_records([folder]), studies=())
        except DataError as error:
            refused += 1
            if str(folder / "a.json") not in str(error):
                unnamed.append((above, last, str(error)))
    assert not unnamed
    assert refused > 75


def test_links_in_circles_end(tmp_path: Path) -> None:
    factory.write(tmp_path, [factory.record()])
    (tmp_path / "results" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(load_records([tmp_path])) == 1


def test_missing_and_empty_folders_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_records([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no finished record"):
        load_records([tmp_path])
