"""Scores on other data than the job's own have a table of their own and stay out of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.cli.summary import summary
from diffuprompt.errors import DataError
from diffuprompt.record import Record, Score
from diffuprompt.report.html import render_page
from diffuprompt.report.load import Source, load_records
from diffuprompt.report.markdown import render_markdown
from diffuprompt.report.publish import all_tables
from diffuprompt.report.tables import Table, plain
from diffuprompt.report.views import Report, build_report

from . import factory


def sources(records: list[Record]) -> list[Source]:
    return [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]


def report(records: list[Record]) -> Report:
    return build_report(sources(records))


def elsewhere(made: str, right: int, dataset: str = "caltech101", subset: str = "all") -> Score:
    """A score of eight images, the first ``right`` of them answered rightly."""
    return factory.score(made, subset, [i < right for i in range(8)], dataset)


def table(records: list[Record]) -> Table:
    found = report(records).sections[0].other_sets
    assert found is not None
    return found


def test_one_column_per_test_set_and_no_row_without_a_score() -> None:
    records = [
        factory.plus(
            factory.record(seed=seed),
            elsewhere("own", 2 * seed),
            elsewhere("diffusion", 4),
            elsewhere("own", 1, "birds", "base"),
        )
        for seed in (1, 2)
    ]
    made = table(records)
    assert made.columns == ("Method", "caltech101 (all)", "birds (base)")
    assert [[plain(cell) for cell in row] for row in made.rows] == [
        ["CoCoOp", "37.50 ± 12.50", "12.50 ± 0.00"],
        ["CoCoOp + diffusion", "50.00 ± 0.00", "—"],
    ]


def test_a_seed_without_a_score_leaves_a_gap() -> None:
    records = [factory.plus(factory.record(seed=1), elsewhere("own", 4)), factory.record(seed=2)]
    assert [plain(cell) for cell in table(records).rows[0]] == ["CoCoOp", "—"]


def test_own_prompts_of_two_jobs_bring_their_scores_together() -> None:
    plain_job = factory.plus(factory.record(generator="none"), elsewhere("own", 4))
    with_generator = factory.plus(factory.record(), elsewhere("own", 2, "birds"))
    made = table([plain_job, with_generator])
    assert made.columns == ("Method", "caltech101 (all)", "birds (all)", "Average")
    (row,) = made.rows
    assert [plain(cell) for cell in row] == ["CoCoOp", "50.00", "25.00", "37.50"]


def test_the_main_tables_do_not_change() -> None:
    records = factory.study()
    more = [factory.plus(record, elsewhere("own", 5, subset="base")) for record in records]
    before, after = report(records).sections[0], report(more).sections[0]
    assert before.other_sets is None
    assert (after.headline, after.differences) == (before.headline, before.differences)
    assert (after.confidence, after.verdicts) == (before.confidence, before.verdicts)
    assert report(more).cost == report(records).cost


def test_documents_and_the_small_table_show_them() -> None:
    records = [factory.plus(factory.record(), elsewhere("own", 5))]
    made = report(records)
    assert "### Other test sets\n\n| Method | caltech101 (all) |" in render_markdown(made)
    assert "### Other test sets" not in render_markdown(report([factory.record()]))
    assert "<h3>Other test sets</h3>" in render_page(made)
    assert all_tables(made)["other-test-sets"].rows[0][4] == "CoCoOp"
    assert "other test sets: accuracy in %" in summary(sources(records))


def test_a_run_that_is_scored_elsewhere_only_shows_no_empty_table() -> None:
    made = factory.record().model_copy(update={"scores": (elsewhere("own", 5),)})
    shown = summary(sources([made]))
    assert "its own test set is not scored yet" in shown
    assert shown.count("CoCoOp") == 1


def test_other_sizes_or_contents_of_a_test_set_are_never_mixed() -> None:
    first, second = (factory.record(seed=seed) for seed in (1, 2))
    short = factory.score("own", "all", [True] * 4, "caltech101")
    with pytest.raises(DataError, match="number of caltech101 all test images"):
        report([factory.plus(first, elsewhere("own", 5)), factory.plus(second, short)])
    changed = [elsewhere("own", 5).model_copy(update={"content": c}) for c in ("aa", "bb")]
    with pytest.raises(DataError, match=r"(?s)content of the caltech101 all test images.*aa.*bb"):
        report([factory.plus(r, s) for r, s in zip((first, second), changed, strict=True)])


def test_the_same_part_of_two_data_sets_is_no_repetition(tmp_path: Path) -> None:
    record = factory.plus(factory.record(), elsewhere("own", 5, subset="base"))
    folder = factory.write(tmp_path, [record])
    assert len(load_records([folder])) == 1
    twice = factory.plus(record, elsewhere("own", 5, subset="base"))
    folder = factory.write(tmp_path / "twice", [twice])
    with pytest.raises(DataError, match="own/caltech101/base is there twice"):
        load_records([folder])


def test_a_job_that_was_scored_elsewhere_only_is_still_a_row() -> None:
    job = factory.record()
    alone = job.model_copy(update={"scores": (elsewhere("own", 6),)})
    made = report([alone])
    assert [row[0] for row in made.sections[0].headline.rows] == ["CoCoOp"]
    assert plain(table([alone]).rows[0][1]) == "75.00"
    assert "75.00" in render_page(made)
