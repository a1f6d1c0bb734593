"""The published numbers are as printed, and what contradicts them is said."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from tests.report import factory
from tests.report.test_layouts import scored, texts

from diffuprompt.errors import DataError
from diffuprompt.record import Record
from diffuprompt.report.load import Source
from diffuprompt.report.tables import Table
from diffuprompt.report.views import build_report
from diffuprompt.studies.published.against import HEADING, AgainstPaper
from diffuprompt.studies.published.numbers import AVERAGE, BASE_TO_NEW, PARTS, Key, published
from diffuprompt.studies.reported import STUDIES, studies_against

SLACK = 0.0101  # printed values have two decimals: half a unit of each of two of them


def key(dataset: str, learner: str, part: str, generator: str = "none") -> Key:
    return Key(
        protocol=BASE_TO_NEW, shots=16, dataset=dataset, learner=learner, generator=generator,
        part=part,
    )  # fmt: skip


def test_every_contradiction_in_the_tables_is_named_and_nothing_else_is() -> None:
    """Averages are the means of their rows and H the harmonic mean, but for what is listed.

    Flowers of CoCoOp is a misprint of base, which its H shows; with diffusion its H is of it.
    """
    rows: dict[tuple[str, int, str, str], dict[str, dict[str, float]]] = defaultdict(dict)
    listed = set()
    for k, printed in published().items():
        row = rows[k.protocol, k.shots, k.learner, k.generator]
        row.setdefault(k.dataset, {})[k.part] = printed.value
        if printed.misprint:
            listed.add(k)
    found = set()
    for (protocol, shots, learner, generator), sets in rows.items():
        average = sets.pop(AVERAGE)
        if not sets:  # Table 7 prints averages only
            continue
        if protocol != BASE_TO_NEW:
            assert sets.pop("imagenet")  # the source is no target
        for part in average:
            mean = sum(values[part] for values in sets.values()) / len(sets)
            fits = abs(mean - average[part]) <= (0.0051 if protocol != BASE_TO_NEW else SLACK)
            if not fits and part != "h":
                found.add(
                    Key(protocol=protocol, shots=shots, dataset=AVERAGE, learner=learner,
                        generator=generator, part=part)
                )  # fmt: skip
        for dataset, values in sets.items():
            if protocol == BASE_TO_NEW:
                base, new, h = (values[part] for part in PARTS)
                if abs(2 * base * new / (base + new) - h) > SLACK:
                    found.add(key(dataset, learner, "h", generator))
    flowers = key("oxford_flowers", "cocoop", "base")
    seen_by_h = key("oxford_flowers", "cocoop", "h")
    averages_of_it = key(AVERAGE, "cocoop", "base")
    assert found - {seen_by_h, averages_of_it} <= listed
    assert {seen_by_h, averages_of_it} <= found
    silent = {k for k in listed - found if k.dataset != AVERAGE}
    assert silent == {flowers, key("oxford_flowers", "cocoop", "base", "diffusion")}
    assert {k.part for k in listed - found if k.dataset == AVERAGE} == {"h"}


def against(records: list[Record], is_full: bool = False) -> Table | None:
    sources = [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]
    made = build_report(sources, studies=[AgainstPaper(is_full=is_full)])
    parts = [p for view in made.sections for p in view.parts if p.heading == HEADING]
    return parts[0].table if parts else None


def test_ours_published_and_the_difference_stand_side_by_side() -> None:
    right: dict[tuple[factory.Made, str, str], int] = {
        ("own", "oxford_flowers", "base"): 8,
        ("own", "oxford_flowers", "new"): 4,
    }
    records = [scored(right, dataset="oxford_flowers", generator="none")]
    table = against(records)
    assert table is not None
    assert texts(table) == [
        ["CoCoOp", "Base", "100.00", "94.17", "+5.83", "Table 1", "1"],
        ["CoCoOp", "New", "50.00", "71.75", "−21.75", "Table 1", ""],
        ["CoCoOp", "H", "66.67", "81.71", "−15.04", "Table 1", ""],
    ]
    assert "1: 94.87 fits" in table.caption
    full = against(records, is_full=True)
    assert full is not None
    assert len(full.rows) == 12 * 3
    assert ["CoOp", "Base", "—", "97.60", "—", "authors", ""] in texts(full)
    assert against([factory.record(generator="none")]) is None  # scenes are in no paper


def test_targets_have_their_average_only_when_all_are_there() -> None:
    names = ("imagenet", "imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
    right: dict[tuple[factory.Made, str, str], int] = {("own", n, "all"): 4 for n in names}
    job = {"dataset": "imagenet", "protocol": "domain", "learner": "maple", "generator": "none"}
    table = against([scored(right, **job)])
    assert table is not None
    assert texts(table)[0][:5] == ["MaPLe", "imagenet", "50.00", "70.72", "−20.72"]
    assert texts(table)[-1] == ["MaPLe", AVERAGE, "50.00", "60.83", "−10.83", "Table 3", "1"]
    assert "1: 60.28 fits: the mean of its targets" in table.caption
    del right["own", "imagenet_r", "all"]
    fewer = against([scored(right, **job)])
    assert fewer is not None
    assert AVERAGE not in [row[1] for row in fewer.rows]


def test_averages_stand_beside_ours_when_all_data_sets_are_there() -> None:
    names = sorted({k.dataset for k in published() if k.protocol == BASE_TO_NEW} - {AVERAGE})
    records = [
        scored(
            {("own", name, "base"): 8 if i else 0, ("own", name, "new"): 4},
            dataset=name, generator="none", learner="coop",
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    heading = "Against the published numbers: average over 11 data sets · scenes-clip"

    def shown(some: list[Record]) -> list[Table]:
        sources = [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(some)]
        made = build_report(sources, studies=[AgainstPaper()])
        return [layout.part.table for layout in made.layouts if layout.part.heading == heading]

    (table,) = shown(records)
    assert [row[:4] for row in texts(table)] == [
        ["CoOp", "Base", "90.91", "82.69"],
        ["CoOp", "New", "50.00", "63.22"],
        ["CoOp", "H", "64.52", "71.66"],
    ]
    assert (
        "in the methods' own papers (authors). Ours" in table.caption
    )  # and no table of the paper
    assert not shown(records[1:])


def test_the_verb_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diffuprompt.cli.report import Args, run

    records = [factory.record(dataset="caltech101", generator="none")]
    assert run(Args(paths=(factory.write(tmp_path, records),), against="paper")) == 0
    assert "| CoCoOp | New | 60." in capsys.readouterr().out


def test_it_is_added_only_when_asked_for() -> None:
    assert studies_against("none") == STUDIES
    assert studies_against("paper-full")[-1] == AgainstPaper(is_full=True)
    with pytest.raises(DataError, match="no summary"):
        AgainstPaper().summary([])
