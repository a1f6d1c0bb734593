"""The plug-in study, its rivals, sweeps and ablations, from records with known numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.report import factory

from diffuprompt.errors import DataError
from diffuprompt.record import Record, Variant
from diffuprompt.report.aggregate import build_sections
from diffuprompt.report.compare import default_comparisons
from diffuprompt.report.load import Source, load_records
from diffuprompt.report.markdown import check, make_results, write
from diffuprompt.report.tables import Number
from diffuprompt.report.views import Report, build_report
from diffuprompt.studies.plug_in.gains import GENERATED, Gains, find_gains
from diffuprompt.studies.plug_in.summary import make_summary, update_summary, write_summary
from diffuprompt.studies.reported import STUDIES

EXACT = {"own": (0.5, 0.5), "diffusion": (0.75, 0.75), "regression": (0.5, 0.25)}


def exact(learner: str, accuracy: dict[str, tuple[float, float]], seed: int = 1) -> Record:
    """A record of eight images per subset, of which the first ones are right: nothing is random."""
    scores = [
        factory.score(variant, subset, [i < 8 * wanted for i in range(8)])
        for variant, both in accuracy.items()
        for subset, wanted in zip(("base", "new"), both, strict=True)
    ]
    whole = factory.record(learner=learner, seed=seed)
    return whole.model_copy(update={"scores": tuple(scores)})


def made_by(generator: str, record: Record) -> Record:
    return record.model_copy(update={"job": record.job.model_copy(update={"generator": generator})})


def whole(record: Record, setting: str = "") -> Record:
    """The same with its base images for those of all classes."""
    job = record.job.model_copy(update={"protocol": "few-shot", "setting": setting})
    scores = [s.model_copy(update={"subset": "all"}) for s in record.scores if s.subset == "base"]
    return record.model_copy(update={"job": job, "scores": tuple(scores)})


def configured(config: dict[str, object], record: Record) -> Record:
    return record.model_copy(update={"config": config})


def sources(records: list[Record]) -> list[Source]:
    return [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]


def gains_of(records: list[Record]) -> Gains:
    (section,) = build_sections(sources(records))
    found = find_gains(section, default_comparisons(section))
    assert found is not None
    return found


def swept(seed: int = 1) -> list[Record]:
    """CoCoOp + diffusion at 5 evaluations and steps, sampled at 1 and 25, overfitted 2 and 9."""
    config = {"diffusion": {"nfe": 5}, "overfit": {"steps": 5}}
    more = {
        Variant.generated("diffusion", nfe=1): (0.79, 0.6),
        Variant.generated("diffusion", nfe=25): (0.82, 0.65),
    }
    main = factory.record(seed=seed, accuracy={**factory.ACCURACY, **more})
    out = [main.model_copy(update={"config": config})]
    for k in (2, 9):
        other = {**config, "overfit": {"steps": k}}
        out.append(configured(other, factory.record(seed=seed, setting=f"overfit.steps={k}")))
    return out


def report(records: list[Record]) -> Report:
    return build_report(sources(records), studies=STUDIES)


def headings(made: Report) -> list[str]:
    return [part.heading for view in made.sections for part in view.parts]


def test_gain_and_controls_in_closed_form() -> None:
    """H goes from 50 to 75; above regression (H 33.3) and, equal to shuffled, not above it."""
    above = {**EXACT, "shuffled": (0.25, 0.25)}
    level = {**EXACT, "shuffled": (0.75, 0.75)}
    found = gains_of([exact("coop", above), exact("cocoop", level)])
    assert [g.h.estimate for g in found.each] == [25.0, 25.0]
    assert found.mean.estimate == 25.0
    assert found.each[0].over[factory.variant("regression")].intervals[
        "h"
    ].estimate == pytest.approx(75 - 100 / 3)
    shuffled = found.each[1].over[factory.variant("shuffled")].intervals["h"]
    assert (shuffled.estimate, shuffled.low, shuffled.high) == (0, 0, 0)  # the same answers
    assert [g.above("shuffled") for g in found.each] == [True, False]
    assert found.above == ("coop",)


def test_a_control_that_was_not_scored_counts_as_not_beaten() -> None:
    found = gains_of([exact("coop", EXACT)])
    assert found.each[0].above("shuffled") is None
    assert found.above == ()


def test_the_mean_takes_the_seeds_that_all_learners_have() -> None:
    records = [exact("coop", {**EXACT, "own": (0.25, 0.25)}, seed=s) for s in (1, 2)]
    found = gains_of([*records, exact("cocoop", EXACT, seed=2)])
    assert found.seeds == (2,)
    assert found.mean.estimate == pytest.approx((50 + 25) / 2)


def test_joint_training_is_compared_with_the_learner_of_the_plain_job() -> None:
    """Joint training moved the learner from 50 to 25, then diffusion adds 50 to what is left."""
    joint = configured({"fit": {"mode": "joint"}}, exact("coop", {**EXACT, "own": (0.25, 0.25)}))
    plain = made_by("none", exact("coop", {"own": (0.5, 0.5)}))
    (gain,) = gains_of([joint, plain]).each
    assert (gain.own.generator, gain.own.mean("h"), gain.h.estimate) == ("none", 50.0, 25.0)
    assert gains_of([joint]).each[0].h.estimate == 50.0  # there is no other
    two_stage = configured({"fit": {"mode": "two_stage"}}, joint)
    assert gains_of([two_stage, plain]).each[0].h.estimate == 50.0


def test_learners_of_another_precision_are_not_compared() -> None:
    """Plain prompts equal those of the job: without a look at precision they would be one row."""
    joint = {"fit": {"mode": "joint"}}
    plain = configured({"precision": "bf16"}, made_by("none", exact("coop", {"own": (0.5, 0.5)})))
    for config in ({}, joint):
        records = [configured(config, exact("coop", EXACT)), plain]
        (gain,) = gains_of(records).each
        assert (gain.own.generator, gain.own.precision) == ("diffusion", "fp32")
    scores = {"own": (0.5, 0.5), "mlp": (0.75, 0.5)}
    rival = made_by("mlp", configured({"precision": "bf16"}, exact("coop", scores)))
    row = report([exact("coop", EXACT), rival]).sections[0].parts[1].table.rows[2]
    assert (row[0], row[4], row[5]) == ("mlp", None, None)


def test_every_number_of_a_row_is_over_the_same_seeds(tmp_path: Path) -> None:
    """Seed 2 lacks shuffled, seed 3 has own prompts only, and seed 6 the rival only."""
    full = {**EXACT, "shuffled": (0.25, 0.25)}
    low = {"own": (0.125, 0.125), "diffusion": (0.25, 0.25), "regression": (0.125, 0.125)}
    own = ((1, full["own"]), (2, low["own"]), (3, (1.0, 1.0)))
    jobs = [made_by("none", exact("cocoop", {"own": both}, seed)) for seed, both in own]
    rival = [
        made_by("mlp", exact("cocoop", {"own": full["own"], "mlp": (k / 8, k / 8)}, seed=k))
        for k in (1, 6)
    ]
    records = [exact("cocoop", full, 1), exact("cocoop", low, 2), *jobs, *rival]
    found = gains_of(records)
    (gain,) = found.each
    assert (gain.own.seeds, gain.generated.seeds, found.seeds) == ((1,), (1,), (1,))
    assert [c.seeds for c in gain.over.values()] == [(1,)] * 3
    made = make_summary([factory.write(tmp_path, records)])["scenes"]["learners"][0]
    assert (made["own"]["h"], made["diffusion"]["h"], made["h_gain"]) == (50.0, 75.0, 25.0)
    first, second = report(records).sections[0].parts[:2]
    row = first.table.rows[0]
    assert [cell.value for cell in row[1:8]] == [50, 50, 50, 75, 75, 75, 25]  # type: ignore[union-attr]
    mlp = second.table.rows[2]
    assert [mlp[i].value for i in (1, 3, 4, 9)] == [12.5, 12.5, -37.5, 1]  # type: ignore[union-attr]


def test_summary_holds_what_the_records_say(tmp_path: Path) -> None:
    shuffled = {**EXACT, "shuffled": (0.25, 0.25)}
    records = [exact("coop", shuffled), exact("cocoop", EXACT)]
    records += [factory.record(dataset="other", seed=s) for s in (1, 2, 3)]
    folder = factory.write(tmp_path, records)
    made = make_summary([folder])
    entry = made["scenes"]
    assert entry["mean_h_gain"] == 25.0
    assert entry["mean_h_gain_ci"][0] < 25.0 < entry["mean_h_gain_ci"][1]
    assert entry["learners_above_controls"] == 1
    row = entry["learners"][0]
    assert row["learner"] == "coop"
    assert row["own"] == {"base": 50.0, "new": 50.0, "h": 50.0}
    assert row["diffusion"] == {"base": 75.0, "new": 75.0, "h": 75.0}
    assert row["h_over_regression"] == pytest.approx(75 - 100 / 3, abs=1e-4)  # four digits are kept
    assert row["n"] == {"base": 8, "new": 8}
    assert entry["learners"][1]["h_over_shuffled_ci"] is None
    assert made["other"]["seeds"] == [1, 2, 3]


def test_a_summary_lies_with_its_records_and_is_checked(tmp_path: Path) -> None:
    folder = factory.write(tmp_path, [exact("coop", EXACT)])
    page, summary = tmp_path / "RESULTS.md", folder / "summary.json"
    with pytest.raises(DataError, match="in the folder of the records"):
        write_summary([folder], tmp_path / "summary.json")
    write_summary([folder], summary)
    write([folder], page, studies=STUDIES)
    check(folder, page, studies=STUDIES)
    data = json.loads(summary.read_text())
    data["scenes"]["mean_h_gain"] = 99.0
    summary.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"summary\.json is not what the records say"):
        check(folder, page, studies=STUDIES)
    write([folder], page, studies=STUDIES)  # brings it up to date
    check(folder, page, studies=STUDIES)


def test_records_without_diffusion_make_no_summary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record scores diffusion"):
        make_summary([factory.write(tmp_path, [factory.record(generator="none")])])


def test_rivals_stand_beside_diffusion() -> None:
    mlp = factory.record(generator="mlp", accuracy={"own": (0.8, 0.6), "mlp": (0.79, 0.62)})
    made = report([factory.record(), mlp])
    assert headings(made) == [
        "Diffusion plugged into each learner",
        "Diffusion and its rivals (CoCoOp)",
        "H against seconds of training",
    ]
    rows = made.sections[0].parts[1].table.rows
    assert [row[0] for row in rows] == ["own prompts", "diffusion", "mlp"]
    assert rows[0][4] is None  # own prompts gain nothing over themselves
    assert rows[1][5] is None  # nor diffusion over itself


def test_rivals_stand_beside_diffusion_where_all_classes_are_trained() -> None:
    scores = {"own": (0.5, 0.0), "mlp": (0.625, 0.0)}
    made = report([whole(exact("cocoop", EXACT)), whole(made_by("mlp", exact("cocoop", scores)))])
    heading = "Diffusion and its rivals (CoCoOp)"
    (part,) = (p for p in made.sections[0].parts if p.heading == heading)
    assert part.table.columns[1:4] == ("All", "All gain over own", "diffusion minus it (All)")
    own, diffusion, mlp = ([getattr(c, "value", c) for c in row[:4]] for row in part.table.rows)
    assert own == ["own prompts", 50.0, None, 25.0]
    assert diffusion == ["diffusion", 75.0, 25.0, None]
    assert mlp == ["mlp", 62.5, 12.5, 12.5]


def test_rivals_of_another_setting_have_a_table_of_their_own() -> None:
    scores = {"own": (0.5, 0.0), "mlp": (0.625, 0.0)}
    long = [exact("cocoop", EXACT), made_by("mlp", exact("cocoop", scores))]
    made = report([whole(long[0]), *(whole(one, "fit.epochs=9") for one in long)])
    heading = "Diffusion and its rivals (CoCoOp, fit.epochs=9)"
    (part,) = (p for p in made.sections[0].parts if "rivals" in p.heading)
    assert part.heading == heading
    assert [row[0] for row in part.table.rows] == ["own prompts", "diffusion", "mlp"]
    assert part.table.rows[2][3].value == 12.5  # type: ignore[union-attr]


def test_sweeps_take_configured_points_from_the_main_run_and_zero_from_own_prompts() -> None:
    made = report(swept())
    evaluations, iterations = (p for p in made.sections[0].parts if p.figure is not None)
    assert [row[0].head for row in evaluations.table.rows] == ["1", "5", "25"]  # type: ignore[union-attr]
    assert [row[0].head for row in iterations.table.rows] == ["0", "2", "5", "9"]  # type: ignore[union-attr]
    row = made.sections[0].section.rows
    main = next(r for r in row if r.variant == GENERATED)
    assert evaluations.figure is not None
    assert evaluations.figure.lines["Base"][1] == (5.0, main.mean("base"), 0.0)


def test_a_sweep_has_no_line_of_what_only_other_learners_measured() -> None:
    probe = made_by("none", factory.record(learner="linear-probe", accuracy={"own": (0.8, 0.6)}))
    right = factory.score("own", "base", [True, False]).model_copy(update={"subset": "open"})
    probe = probe.model_copy(update={"scores": (*probe.scores, right)})
    section = report([*swept(), probe]).sections[0]
    assert "open" in section.section.metrics
    figures = [p.figure for p in section.parts if p.heading.startswith("Sweep")]
    assert len(figures) == 2
    for figure in figures:
        assert figure is not None
        assert sorted(figure.lines) == ["Base", "H", "New"]
        assert figure.draw().startswith("<")


def test_a_sweep_shows_only_seeds_that_all_points_share() -> None:
    made = report([*swept(1), *swept(2), swept(3)[0]])
    captions = [p.table.caption for p in made.sections[0].parts if p.figure is not None]
    assert "seeds 1, 2, 3;" in captions[0]
    assert "seeds 1, 2;" in captions[1]


def test_another_sampler_has_a_sweep_over_evaluations_of_its_own() -> None:
    """Figure 4 of the paper: AMED beside the default, each at several numbers of evaluations."""
    main, *_ = swept()
    other = {**main.config, "diffusion": {**main.config["diffusion"], "sampler": "amed"}}
    job = main.job.model_copy(update={"setting": "amed"})
    amed = configured(other, main.model_copy(update={"job": job}))
    made = report([main, amed])
    assert [h for h in headings(made) if h.startswith("Sweep over eval")] == [
        "Sweep over evaluations (CoCoOp)", "Sweep over evaluations with amed (CoCoOp)",
    ]  # fmt: skip
    figures = [p.figure.name for p in made.sections[0].parts if p.figure is not None]
    assert len(figures) == len(set(figures)) == 2
    (ablations,) = (p for p in made.sections[0].parts if p.heading == "Ablations")
    assert [row[0] for row in ablations.table.rows] == ["CoCoOp + diffusion · amed"]
    elsewhere = {**other, "fit": {"beta": 2}}  # another training is another figure
    made = report([main, configured(elsewhere, amed)])
    assert "Sweep over evaluations with amed (CoCoOp)" not in headings(made)


def test_an_ablation_says_its_precision_where_the_default_has_another() -> None:
    main = configured({"precision": "bf16"}, factory.record())
    made = report([main, factory.record(setting="fp32")])
    (ablations,) = (p for p in made.sections[0].parts if p.heading == "Ablations")
    assert [row[0] for row in ablations.table.rows] == ["CoCoOp + diffusion · fp32 (fp32)"]


def test_sweeps_and_ablations_stay_out_of_the_main_table() -> None:
    made = report([*swept(), factory.record(setting="fit.beta=0")])
    names = [str(row[0]) for row in made.sections[0].headline.rows]
    assert not [name for name in names if "nfe" in name or "steps" in name]
    (ablations,) = (p for p in made.sections[0].parts if p.heading == "Ablations")
    # the sweep shows its own points
    assert [row[0] for row in ablations.table.rows] == ["CoCoOp + diffusion · fit.beta=0"]
    assert len(made.cost.rows) == 1  # ablations have no row there


def test_ablations_stand_beside_their_default_and_their_own_controls() -> None:
    worse = {"own": (0.5, 0.5), "diffusion": (0.5, 0.75), "regression": (0.5, 0.5)}
    other = exact("cocoop", worse)
    job = other.job.model_copy(update={"setting": "fit.beta=2"})
    spread = {**other.statistics, "generated_spread": 0.25}
    other = other.model_copy(update={"job": job, "statistics": spread})
    made = report([exact("cocoop", EXACT), other])
    (part,) = (p for p in made.sections[0].parts if p.heading == "Ablations")
    found = dict(zip(part.table.columns, part.table.rows[0], strict=True))
    for column, value in (
        ("Base − default", -25.0),
        ("New − default", 0.0),
        ("H − default", 60.0 - 75.0),
        ("H − own prompts", 60.0 - 50.0),
        ("H − regression", 60.0 - 50.0),
        ("Spread", 0.25),
    ):
        cell = found[column]
        assert isinstance(cell, Number)
        assert cell.value == pytest.approx(value), column


def test_where_all_classes_are_trained_the_controls_are_compared_in_the_one_measure() -> None:
    other = {"own": (0.25, 0.0), "diffusion": (0.5, 0.0), "regression": (0.5, 0.0)}
    made = report([whole(exact("cocoop", EXACT)), whole(exact("cocoop", other), "fit.epochs=9")])
    (part,) = (p for p in made.sections[0].parts if p.heading == "Ablations")
    found = dict(zip(part.table.columns, part.table.rows[0], strict=True))
    for column, value in (
        ("All − default", -25.0),
        ("All − own prompts", 25.0),
        ("All − regression", 0.0),
    ):
        assert found[column].value == pytest.approx(value), column  # type: ignore[union-attr]


def test_other_settings_of_learners_stand_with_their_protocol(tmp_path: Path) -> None:
    alone = made_by("none", exact("cocoop", {"own": (0.75, 0.75)}))
    other = made_by("none", exact("cocoop", {"own": (0.5, 0.5)}))
    job = other.job.model_copy(update={"setting": "epochs=2"})
    other = other.model_copy(update={"job": job})
    folder = factory.write(tmp_path, [alone, other, exact("cocoop", EXACT)])
    (part,) = (
        p for p in build_report(load_records([folder]), studies=STUDIES).sections[0].parts
        if p.heading == "Other settings of learners"
    )  # fmt: skip
    found = dict(zip(part.table.columns, part.table.rows[0], strict=True))
    assert found["H − default"].value == pytest.approx(-25.0)  # type: ignore[union-attr]
    assert "H − regression" not in found
    pages = write([folder], tmp_path / "RESULTS.md", studies=STUDIES)
    texts = {path.stem: path.read_text() for path in pages if path.suffix == ".md"}
    assert "### Other settings of learners" in texts["base-to-new"]
    assert "epochs=2" not in texts["prompt-diffusion"]


def test_figures_are_written_linked_and_checked(tmp_path: Path) -> None:
    folder = factory.write(tmp_path, swept())
    page = tmp_path / "RESULTS.md"
    written = write([folder], page, studies=STUDIES)
    figures = [path for path in written if path.suffix == ".svg"]
    assert len(figures) == 2
    shown = tmp_path / "docs" / "results" / "prompt-diffusion.md"
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", shown.read_text())
    assert [(shown.parent / link).resolve() for link in links] == figures
    check(folder, page, studies=STUDIES)
    assert "currentColor" not in figures[0].read_text()  # a file has no page to take it from
    figures[0].unlink()
    with pytest.raises(DataError, match="missing or shows other numbers"):
        check(folder, page, studies=STUDIES)


def test_records_are_found_beside_figures(tmp_path: Path) -> None:
    folder = factory.write(tmp_path, swept())
    first = make_results([folder], studies=STUDIES)
    write([folder], tmp_path / "RESULTS.md", studies=STUDIES)
    assert len(load_records([folder])) == 3
    assert make_results([folder], studies=STUDIES) == first


def test_a_sweep_is_told_by_configurations_and_not_by_names() -> None:
    main, two, nine = swept()
    job = two.job.model_copy(update={"setting": "short"})
    renamed = two.model_copy(update={"job": job})
    parts = report([main, renamed, nine]).sections[0].parts
    iterations = next(p for p in parts if p.heading.startswith("Sweep over overfitting"))
    assert [row[0].head for row in iterations.table.rows] == ["0", "2", "5", "9"]  # type: ignore[union-attr]
    assert "Ablations" not in [p.heading for p in parts]
    more = configured({**nine.config, "fit": {"beta": 2}}, nine)  # differs in another field too
    parts = report([main, two, more]).sections[0].parts
    (ablations,) = (p for p in parts if p.heading == "Ablations")
    assert [row[0] for row in ablations.table.rows] == ["CoCoOp + diffusion · overfit.steps=9"]
    iterations = next(p for p in parts if p.heading.startswith("Sweep over overfitting"))
    assert [row[0].head for row in iterations.table.rows] == ["0", "2", "5"]  # type: ignore[union-attr]


def test_points_that_make_no_curve_are_ablations() -> None:
    main, two, _ = swept()
    own = factory.variant("own")
    main, two = (
        r.model_copy(update={"scores": tuple(s for s in r.scores if s.variant != own)})
        for r in (main, two)
    )
    made = report([main, two])
    assert not [h for h in headings(made) if h.startswith("Sweep over overfitting")]
    assert "Ablations" in headings(made)


def test_a_study_brings_its_summary_up_to_date_where_it_has_one(tmp_path: Path) -> None:
    assert not update_summary(tmp_path / "nowhere")
    folder = factory.write(tmp_path, [factory.record(generator="none")])
    assert not update_summary(folder)
    assert not (folder / "summary.json").exists()
    factory.write(tmp_path, [factory.record()])
    assert update_summary(folder)
    found = json.loads((folder / "summary.json").read_text())
    assert found["scenes"]["num_learners"] == 1


def test_a_study_of_one_learner_says_what_each_deciding_comparison_says() -> None:
    own, regression, shuffled = report(factory.study()).sections[0].verdicts
    assert "is above CoCoOp's own prompts in H" in own
    assert "is not distinguishable from regression" in regression
    assert "is above shuffled pi" in shuffled


def test_where_there_is_no_h_learners_are_counted() -> None:
    far, near = (0.25, 0.25), (0.75, 0.75)

    def one(learner: str, own: tuple[float, float]) -> Record:
        return whole(exact(learner, {"own": own, "diffusion": (1.0, 1.0), "regression": near}))

    rival = whole(made_by("mlp", exact("coop", {"own": far, "mlp": near})))
    made = report([one("coop", far), one("cocoop", near), rival])
    (said,) = made.sections[0].verdicts  # the rival is no learner with diffusion
    assert said == (
        "In all accuracy diffusion is above own prompts for 1 of 2, regression E[V*|pi] for 0 of 2 "
        "learners, intervals above zero."
    )
    assert len(report([one("coop", far)]).sections[0].verdicts) == 2, "one is told at length"


def test_the_engine_alone_shows_nothing_of_the_study(tmp_path: Path) -> None:
    made = build_report(sources(swept()))
    assert made.sections[0].parts == ()
    assert [v for v in made.sections[0].verdicts if "regression" in v] == []
    assert not [note for note in made.notes if "Controls" in note]
    folder = factory.write(tmp_path, [exact("coop", EXACT)])
    write_summary([folder], folder / "summary.json")
    with pytest.raises(DataError, match="summary of an unknown study"):
        check_without(folder, tmp_path / "RESULTS.md")


def check_without(folder: Path, page: Path) -> None:
    page.write_text("")
    check(folder, page)
