"""Rows, sections, comparisons and the tables made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffuprompt.errors import DataError
from diffuprompt.record import Record, Variant
from diffuprompt.report import names
from diffuprompt.report.aggregate import Section, build_sections
from diffuprompt.report.compare import compare, default_comparisons
from diffuprompt.report.load import Source
from diffuprompt.report.views import build_report

from . import factory


def sources(records: list[Record]) -> list[Source]:
    return [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]


def section(records: list[Record]) -> Section:
    (only,) = build_sections(sources(records))
    return only


def test_rows_stand_in_the_fields_order_with_its_names() -> None:
    assert [row.name for row in section(factory.study()[::-1]).rows] == [
        "Zero-shot CLIP",
        "CoOp",
        "CoCoOp",
        "CoCoOp + diffusion",
        "— regression E[V*|pi]",
        "— shuffled pi",
        "— noise pi",
        "— nearest neighbour V*",
        "— mean V*",
        "— oracle V* (uses the label)",
    ]


def test_names_are_what_methods_and_kinds_call_themselves_and_unknown_ones_stay() -> None:
    assert names.row_name("vpt", "gan", Variant.generated("gan")) == "VPT + gan"
    assert names.row_name("mine", "ours", Variant.generated("ours", nfe=3)) == "mine + ours, nfe=3"
    assert names.row_name("vpt", "gan", Variant.of_control("shaken", "gan")) == "— shaken"
    assert not names.needs_images("zero-shot")
    assert names.needs_images("mine")


def test_mean_std_and_h_follow_the_stated_conventions() -> None:
    records = factory.study()
    row = next(r for r in section(records).rows if r.name == "CoCoOp + diffusion")
    scores = [
        [r.score(Variant.generated("diffusion"), k).accuracy for k in ("base", "new")]  # type: ignore[union-attr]
        for r in records
        if r.job.generator == "diffusion"
    ]
    base, new = np.array(scores).T
    assert row.mean("base") == pytest.approx(base.mean())
    assert row.std("new") == pytest.approx(np.sqrt(((new - new.mean()) ** 2).sum() / 3))  # ddof 0
    assert row.mean("h") == pytest.approx(2 / (1 / base.mean() + 1 / new.mean()))
    assert row.std("h") == pytest.approx(np.std(2 * base * new / (base + new)))


def test_one_seed_has_no_std() -> None:
    row = section([factory.record()]).rows[0]
    assert row.std("base") is None


def test_own_prompts_stay_two_rows_when_the_jobs_disagree() -> None:
    other = factory.record(generator="none", accuracy={"own": (0.7, 0.5)})
    names = [row.name for row in section([factory.record(), other]).rows]
    assert names[:2] == ["CoCoOp", "CoCoOp (in the diffusion job)"]


def test_zero_shot_joins_every_table_of_its_data() -> None:
    zero = factory.record(learner="zero-shot", generator="none", protocol="base-to-new", shots=0)
    records = [zero, factory.record(shots=4), factory.record(shots=16)]
    records.append(factory.record(dataset="other"))
    found = build_sections(sources(records))
    assert [(s.setting.dataset, s.setting.shots) for s in found] == [
        ("other", 16), ("scenes", 4), ("scenes", 16),
    ]  # fmt: skip
    assert [s.rows[0].learner for s in found] == ["cocoop", "zero-shot", "zero-shot"]
    assert build_sections(sources([zero]))[0].rows[0].name == "Zero-shot CLIP"


def test_zero_shot_of_another_protocol_stays_a_section_of_its_own() -> None:
    zero = factory.record(learner="zero-shot", generator="none")
    more = factory.record(learner="zero-shot", generator="none", shots=4)
    found = build_sections(sources([zero, more, factory.record(protocol="holdout")]))
    assert [(s.setting.protocol, s.setting.shots) for s in found] == [
        ("base-to-new", 4), ("base-to-new", 16), ("holdout", 16),
    ]  # fmt: skip
    assert [s.rows[0].learner for s in found] == ["zero-shot", "zero-shot", "cocoop"]


def test_zero_shot_of_the_same_shots_is_preferred_and_another_is_not_lost() -> None:
    zero = [factory.record(learner="zero-shot", generator="none", shots=k, seed=k) for k in (4, 16)]
    found = build_sections(sources([*zero, factory.record()]))
    assert [(s.setting.shots, s.rows[0].seeds) for s in found] == [(4, (4,)), (16, (16,))]


def test_costs_of_another_protocol_are_no_other_seed() -> None:
    records = [factory.record(seed=1), factory.record(seed=2, protocol="holdout")]
    table = build_report(sources(records)).cost
    assert table.columns[0] == "Data · backbone · protocol · shots"
    assert [row[0] for row in table.rows] == [
        "scenes · scenes-clip · base-to-new · 16",
        "scenes · scenes-clip · holdout · 16",
    ]
    assert [cell.value for cell in (row[3] for row in table.rows)] == [13.5, 14.5]  # type: ignore[union-attr]
    alone = build_report(sources(records[:1])).cost
    assert alone.rows[0][0] == "scenes · scenes-clip · 16"


def test_other_weights_or_test_images_are_never_mixed() -> None:
    changed = factory.record(seed=2).model_copy(update={"hashes": {"backbone": "other"}})
    with pytest.raises(DataError, match=r"(?s)backbone hash.*0\.json.*1\.json"):
        build_sections(sources([factory.record(), changed]))
    with pytest.raises(DataError, match="number of base test images"):
        build_sections(sources([factory.record(), factory.record(seed=2, total=100)]))


def test_other_data_or_preprocessing_is_never_mixed() -> None:
    for name in ("manifest", "preprocess"):
        first, second = (
            factory.record(learner=learner).model_copy(update={"hashes": {name: learner}})
            for learner in ("coop", "cocoop")
        )
        with pytest.raises(DataError, match=rf"(?s){name} hash.*1\.json.*0\.json.*one version"):
            build_sections(sources([first, second]))


def test_seeds_of_one_row_share_their_configuration() -> None:
    def of(number: int, generator: str = "none", **config: object) -> Record:
        return factory.record(seed=number, generator=generator).model_copy(
            update={"config": config}
        )

    first = of(1, seed=1, train={"epochs": 5, "lr": 0.1})
    with pytest.raises(DataError) as caught:
        build_sections(sources([first, of(2, train={"epochs": 9, "lr": 0.1}, precision="bf16")]))
    assert str(caught.value).splitlines() == [
        "records of the row cocoop/none disagree on the config precision:",
        '  "bf16": 1.json',
        "  absent: 0.json",
        "records of the row cocoop/none disagree on the config train.epochs:",
        "  5: 0.json",
        "  9: 1.json",
        "  they would pass for seeds of one another: give the report only those of one "
        "configuration, or train the others with --setting NAME, which shows them as an ablation",
    ]
    other_row = of(1, "diffusion", seed=1, train={"epochs": 9})
    same_row = of(2, seed=2, train={"epochs": 5, "lr": 0.1})
    assert build_sections(sources([first, same_row, other_row]))


def test_a_subset_that_one_seed_lacks_is_not_shown() -> None:
    whole, part = factory.record(seed=1), factory.record(seed=2)
    part = part.model_copy(update={"scores": tuple(s for s in part.scores if s.subset == "base")})
    row = section([whole, part]).rows[0]
    assert row.mean("new") is None
    assert row.mean("h") is None
    assert row.mean("base") is not None


def test_diffusion_is_compared_with_own_prompts_and_every_control_but_not_the_oracle() -> None:
    comparisons = default_comparisons(section(factory.study()))
    assert {c.a.name for c in comparisons} == {"CoCoOp + diffusion"}
    assert [c.b.variant.label for c in comparisons] == [
        "own", "regression", "shuffled", "noise", "nearest", "mean",
    ]  # fmt: skip


def test_comparison_counts_are_exact_and_seeds_are_matched_by_number() -> None:
    records = [factory.record(seed=s) for s in (1, 2, 3)]
    alone = [
        factory.record(learner="coop", generator="none", seed=s, accuracy={"own": (0.6, 0.5)})
        for s in (2, 3, 4)
    ]
    rows = {r.name: r for r in section(records + alone).rows}
    result = compare(rows["CoCoOp + diffusion"], rows["CoOp"], resamples=100)
    assert result is not None
    assert result.seeds == (2, 3)
    wins = losses = 0
    for a, b in zip(records[1:], alone[:2], strict=True):
        left = a.score(Variant.generated("diffusion"), "base").hit_list()  # type: ignore[union-attr]
        right = b.score(Variant.own(), "base").hit_list()  # type: ignore[union-attr]
        wins += sum(x and not y for x, y in zip(left, right, strict=True))
        losses += sum(y and not x for x, y in zip(left, right, strict=True))
    signs = result.image_signs["base"]
    assert (signs.wins, signs.losses, signs.ties) == (wins, losses, 400 - wins - losses)
    expected = 100 * (wins - losses) / 400
    assert result.intervals["base"].estimate == pytest.approx(expected)


def test_verdicts_say_above_only_when_the_interval_does() -> None:
    report = build_report(sources(factory.study()))
    (own,) = report.sections[0].verdicts
    assert "is above CoCoOp's own prompts in H" in own
    level = factory.record(accuracy={"own": (0.8, 0.6), "diffusion": (0.8, 0.6)})
    (own,) = build_report(sources([level])).sections[0].verdicts
    assert "is not distinguishable from CoCoOp's own prompts in H" in own


def test_best_is_marked_without_the_oracle() -> None:
    table = build_report(sources(factory.study())).sections[0].headline
    best = [row[0] for row in table.rows if getattr(row[3], "best", False)]
    assert best == ["CoCoOp + diffusion"]


def test_a_record_without_hits_has_accuracies_and_no_intervals() -> None:
    record = factory.record()
    bare = tuple(score.model_copy(update={"hits": None}) for score in record.scores)
    (view,) = build_report(sources([record.model_copy(update={"scores": bare})])).sections
    own = view.section.rows[0]
    score = record.score(Variant.own(), "base")
    assert score is not None
    assert own.mean("base") == pytest.approx(score.accuracy)
    assert view.section.metrics == ("base", "new", "h")
    assert view.differences is None


def test_a_part_that_one_seed_lacks_is_not_shown() -> None:
    whole, part = factory.record(seed=1), factory.record(seed=2)
    kept = tuple(score for score in part.scores if score.subset == "base")
    both = [whole, part.model_copy(update={"scores": kept})]
    assert section([whole]).metrics == ("base", "new", "h")
    assert section(both).metrics == ("base",)
