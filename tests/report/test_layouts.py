"""Tables in the field's layout: averages over data sets, shots, targets, severities, open world."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffuprompt.cli.summary import summary
from diffuprompt.data import HALVES
from diffuprompt.errors import DataError
from diffuprompt.record import Record, Score, Variant
from diffuprompt.report.extension import SectionPart
from diffuprompt.report.figure_file import figures_by_name
from diffuprompt.report.html import render_page
from diffuprompt.report.load import Source
from diffuprompt.report.pages import make_pages
from diffuprompt.report.publish import all_tables
from diffuprompt.report.severities import corrupted
from diffuprompt.report.stats import AVERAGE, joint_bootstrap
from diffuprompt.report.tables import Table, plain
from diffuprompt.report.target_differences import target_differences
from diffuprompt.report.views import Report, build_report

from . import factory


def report(records: list[Record]) -> Report:
    return build_report([Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)])


def scored(right: dict[tuple[factory.Made, str, str], int], **job: object) -> Record:
    """A record of eight images a test set, of which the first ones are right."""
    scores = [
        factory.score(made, subset, [i < k for i in range(8)], dataset)
        for (made, dataset, subset), k in right.items()
    ]
    made = factory.record(total=8, **job)  # type: ignore[arg-type]
    return made.model_copy(update={"scores": tuple(scores)})


def texts(table: Table) -> list[list[str]]:
    return [[plain(cell) for cell in row] for row in table.rows]


def part(made: Report, heading: str) -> SectionPart:
    parts = [p for view in made.sections for p in view.parts]
    parts += [layout.part for layout in made.layouts]
    return next(p for p in parts if p.heading == heading)


def test_averages_over_data_sets_have_both_harmonic_means() -> None:
    """Base 100 and 50, new 50 and 100: H of averages 75, each H 66.67."""
    halves = {"birds": (8, 4), "cars": (4, 8)}
    records = [
        scored({("own", d, "base"): base, ("own", d, "new"): new}, dataset=d, learner=learner,
               generator="none")
        for d, (base, new) in halves.items()
        for learner in ("coop", "cocoop")
        if (d, learner) != ("cars", "cocoop")
    ]  # fmt: skip
    made = report(records)
    table = part(made, "Average over 2 data sets · scenes-clip, 16 shots").table
    assert table.columns == ("Method", "Base", "New", "H", "Mean of H")
    assert texts(table)[0] == ["CoOp", "75.00", "75.00", "75.00", "66.67"]
    assert texts(table)[1] == ["CoCoOp", "—", "—", "—", "—"]  # it lacks one of the data sets
    each = part(made, "H of 2 data sets · scenes-clip, 16 shots").table
    assert each.columns == ("Method", "birds", "cars", "Average")
    assert texts(each)[0] == ["CoOp", "66.67", "66.67", "75.00"]
    (page, *_) = make_pages(made, notes="", figures="f")
    assert page.text.index("Average over 2 data sets") < page.text.index("## birds")
    assert "base-to-new-average-over-2-data-sets-scenes-clip-16-shots" in all_tables(made)


def test_a_half_of_a_data_set_is_in_no_average() -> None:
    """Two data sets and the halves of a third are averaged over two."""
    records = [
        scored({("own", d, "all"): 4}, dataset=d, learner="coop", generator="none",
               protocol="few-shot")
        for d in ("birds", "cars", *HALVES)
    ]  # fmt: skip
    headings = [layout.part.heading for layout in report(records).layouts]
    assert headings[0] == "Average over 2 data sets · scenes-clip, 16 shots"
    assert report(records[1:]).layouts == ()


def test_one_data_set_has_no_average() -> None:
    assert report(factory.study()).layouts == ()


def test_shots_make_a_curve_and_data_sets_an_average() -> None:
    right = {"birds": {1: 4, 16: 6}, "cars": {1: 2, 16: 8}}
    records = [
        scored({("own", d, "all"): k}, dataset=d, shots=shots, protocol="few-shot",
               generator="none")
        for d, of in right.items()
        for shots, k in of.items()
    ]  # fmt: skip
    made = report(records)
    mean = part(made, "Average over 2 data sets by shots · scenes-clip")
    assert texts(mean.table) == [["CoCoOp", "37.50", "87.50"]]
    birds = part(made, "birds by shots · scenes-clip")
    assert birds.table.columns == ("Method", "1", "16")
    assert birds.figure is not None
    assert birds.figure.numbers["lines"] == (("CoCoOp", ((1.0, 50.0, 0.0), (16.0, 75.0, 0.0))),)
    page = render_page(made)
    assert "<h2>few-shot</h2>" in page
    assert page.count("<svg") == 7  # three curves, and the bars of four sections


def test_a_method_with_one_number_of_shots_has_a_row_and_no_line() -> None:
    def one(shots: int, learner: str) -> Record:
        return scored({("own", "birds", "all"): 4}, dataset="birds", shots=shots,
                      protocol="few-shot", generator="none", learner=learner)  # fmt: skip

    made = report([one(1, "coop"), one(16, "coop"), one(16, "cocoop")])
    curve = part(made, "birds by shots · scenes-clip")
    assert texts(curve.table) == [["CoOp", "50.00", "50.00"], ["CoCoOp", "—", "50.00"]]
    assert curve.figure is not None
    assert [name for name, _ in curve.figure.numbers["lines"]] == ["CoOp"]
    apart = report([one(1, "coop"), one(16, "cocoop")])
    assert part(apart, "birds by shots · scenes-clip").figure is None


def test_data_sets_of_other_shots_have_averages_and_figures_of_their_own() -> None:
    shots = {"a": (1, 16), "b": (1, 16), "c": (2, 4), "d": (2, 4)}
    records = [
        scored({("own", d, "all"): 4}, dataset=d, shots=k, protocol="few-shot", generator="none")
        for d, of in shots.items()
        for k in of
    ]
    made = report(records)
    assert part(made, "Average over 2 data sets by shots (1, 16) · scenes-clip")
    assert part(made, "Average over 2 data sets by shots (2, 4) · scenes-clip")
    figures = figures_by_name(made.figures)
    assert len(figures) == 6
    with pytest.raises(DataError, match="two figures are called 'few-shot-average"):
        figures_by_name([*figures.values(), next(iter(figures.values()))])


def test_targets_stand_between_their_source_and_their_average() -> None:
    own = {("own", "imagenet", "all"): 6, ("own", "dtd", "all"): 4, ("own", "food101", "all"): 8}
    better = {("diffusion", name, part): 8 for _, name, part in own}
    records = [scored({**own, **better}, dataset="imagenet", protocol="cross-dataset")]
    made = report(records)
    table = made.sections[0].other_sets
    assert table is not None
    columns = ("Method", "imagenet (source)", "food101 (all)", "dtd (all)", "Average")
    assert table.columns == columns  # as the catalog orders them
    assert texts(table)[0] == ["CoCoOp", "75.00", "100.00", "50.00", "75.00"]
    differences = part(made, "Paired differences on other test sets").table
    assert differences.rows[0][:2] == ("CoCoOp + diffusion", "own prompts")
    assert plain(differences.rows[0][2]).startswith("+25.00 [")
    assert differences.rows[0][3] == "1 / 1 / 0"
    assert "average over 2 other test sets" in made.sections[0].findings[-1]
    assert "above zero for 1 of 1 (CoCoOp + diffusion)" in made.sections[0].findings[-1]


def test_domains_that_were_left_out_make_one_table() -> None:
    right = {("art-ink+oil", "art-pen"): 2, ("art-ink+pen", "art-oil"): 6}
    records = [
        scored({("own", source, "all"): 8, ("own", target, "all"): k}, dataset=source,
               protocol="domain", generator="none")
        for (source, target), k in right.items()
    ]  # fmt: skip
    (layout,) = report(records).layouts
    assert layout.part.table.columns == ("Method", "art-pen", "art-oil", "Average")
    assert texts(layout.part.table) == [["CoCoOp", "25.00", "75.00", "50.00"]]
    assert "(art-ink+oil, art-ink+pen)" in layout.part.table.caption


def test_scores_elsewhere_leave_the_averages_over_data_sets_as_they_are() -> None:
    """Two of three jobs were also scored on another data set: nothing of it was left out."""
    more = {"a": {("own", "x", "all"): 1}, "b": {("own", "y", "all"): 1}, "c": {}}
    records = [
        scored({("own", d, "base"): 8, ("own", d, "new"): 4, **extra}, dataset=d, generator="none")
        for d, extra in more.items()
    ]
    headings = [layout.part.heading for layout in report(records).layouts]
    assert headings[0] == "Average over 3 data sets · scenes-clip, 16 shots"
    domains = [
        scored({("own", d, "all"): 8, **extra}, dataset=d, protocol="domain", generator="none")
        for d, extra in more.items()
    ]
    assert "Average over 3 data sets" in report(domains).layouts[0].part.heading


def test_the_average_of_a_bootstrap_is_the_mean_of_its_subsets() -> None:
    a = {"x": factory.np.ones((2, 40), bool), "y": factory.np.zeros((2, 10), bool)}
    b = {"x": factory.np.zeros((2, 40), bool), "y": factory.np.zeros((2, 10), bool)}
    found = joint_bootstrap([(a, b)], resamples=50, average=True)[AVERAGE]
    assert (found.estimate, found.low, found.high) == (50.0, 50.0, 50.0)


def test_test_sets_of_the_same_pictures_are_drawn_alike() -> None:
    """The same answers under two names are no more evidence than under one, but two others are."""
    rng = factory.np.random.default_rng(0)
    one, none = rng.random((1, 400)) < 0.5, factory.np.zeros((1, 400), bool)
    other = rng.random((1, 400)) < 0.5

    def width(*hits: factory.np.ndarray) -> float:
        pair = ({str(i): h for i, h in enumerate(hits)}, {str(i): none for i in range(len(hits))})
        found = joint_bootstrap([pair], resamples=2000, average=True)[AVERAGE]
        return found.high - found.low

    assert width(one, one) == width(one)
    assert 0.6 < width(one, other) / width(one) < 0.82  # 1 / sqrt(2) = 0.71


def test_corrupted_test_sets_are_told_by_two_severities_of_a_kind() -> None:
    names = ["birds-blur-1", "birds-blur-3", "noise-2", "imagenetv2", "scenes-sketch"]
    names += ["art-1", "art-2", "day-1", "day-2"]  # domains of somebody, and no kind of shift
    found = corrupted([(name, "all") for name in names])
    assert found == {("birds-blur-1", "all"): ("blur", 1), ("birds-blur-3", "all"): ("blur", 3)}


def test_corrupted_pictures_of_two_data_sets_are_two_kinds() -> None:
    found = corrupted(
        [(f"{of}-blur-{k}", "all") for of in ("caltech101", "scenes") for k in (1, 2)]
    )
    assert found["caltech101-blur-1", "all"] == ("caltech101-blur", 1)
    assert found["scenes-blur-2", "all"] == ("scenes-blur", 2)
    assert len(found) == 4


def test_the_small_table_shows_corrupted_test_sets() -> None:
    records = [scored({("own", f"blur-{k}", "all"): k for k in (1, 3)}, generator="none")]
    sources = [Source(path=Path("0.json"), record=record) for record in records]
    assert re.search(r"CoCoOp +12\.50 +37\.50 +25\.00", summary(sources))


def test_only_what_is_alike_is_averaged_over_targets() -> None:
    """Base and new are two averages, and a test set that one side lacks is in none."""
    own = {("own", d, p): 4 for d in ("a", "b") for p in ("base", "new")}
    made = {("diffusion", d, p): 6 if p == "base" else 4 for _, d, p in own}
    more = {("own", "c", "base"): 0}
    (view,) = report([scored({**own, **made, **more})]).sections
    table = next(p for p in view.parts if p.heading.startswith("Paired")).table
    assert [(row[2], plain(row[3])[:6], row[4]) for row in table.rows] == [
        ("base", "+25.00", "2 / 0 / 0"),
        ("new", "0.00 [", "0 / 2 / 0"),
    ]
    assert [line for line in view.findings if "other test sets (base)" in line]


def test_own_prompts_of_a_learner_that_joint_training_moved_are_not_taken_for_others() -> None:
    """The plain job was scored on no other test set, so there is nothing to compare with."""
    targets = ("a", "b")
    own: dict[tuple[factory.Made, str, str], int] = {("own", "scenes", "all"): 4}
    moved = {("own", "scenes", "all"): 4, **{("own", t, "all"): 0 for t in targets}}
    made: dict[tuple[factory.Made, str, str], int] = {("flow", t, "all"): 8 for t in targets}
    plain_job = scored(own, protocol="few-shot", generator="none")
    joint = scored(moved, protocol="few-shot", generator="diffusion")
    joint = joint.model_copy(update={"config": {**joint.config, "fit": {"mode": "joint"}}})
    flow = scored(made, protocol="few-shot", generator="flow")
    (view,) = report([plain_job, joint, flow]).sections
    assert target_differences(view.section) == ()
    alike = joint.model_copy(update={"config": plain_job.config})
    (view,) = report([plain_job, alike, flow]).sections
    assert [one.a.generator for one in target_differences(view.section)] == ["flow"]


def test_robustness_by_severity_and_by_kind() -> None:
    right = {("own", "scenes", "all"): 8, ("own", "scenes-sketch", "all"): 1}
    right |= {("own", f"blur-{k}", "all"): 8 - 2 * k for k in (1, 2)}
    right |= {("own", f"noise-{k}", "all"): 4 for k in (1, 2)}
    made = report([scored(right, protocol="all", generator="none")])
    by_severity = part(made, "Robustness by severity")
    assert by_severity.table.columns == ("Method", "clean", "1", "2", "Mean")
    assert texts(by_severity.table) == [["CoCoOp", "100.00", "62.50", "50.00", "56.25"]]
    by_kind = part(made, "Robustness by kind of corruption").table
    assert by_kind.columns == ("Method", "clean", "blur", "noise", "Mean")
    assert texts(by_kind) == [["CoCoOp", "100.00", "62.50", "50.00", "56.25"]]
    assert by_severity.figure is not None
    assert [x for x, _, _ in by_severity.figure.numbers["lines"][0][1]] == [0, 1, 2]
    others = made.sections[0].other_sets
    assert others is not None
    assert others.columns == ("Method", "scenes (source)", "scenes-sketch (all)")


def test_a_method_that_does_not_beat_the_trivial_control_is_seen_not_to() -> None:
    """Records of the open world, whose subset and control the record may not know yet."""
    control = Variant.model_construct(
        prompts="control", generator="", control="zero-shot-new", nfe=None, draws=1
    )

    def of(made: Variant, k: int) -> Score:
        open_world = factory.score("own", "base", [i < k for i in range(8)])
        return open_world.model_copy(update={"subset": "open", "variant": made})

    jobs = [("coop", 8, 2), ("cocoop", 4, 4)]
    records = [
        factory.record(learner=learner, generator="none").model_copy(
            update={"scores": (of(Variant.own(), own), of(control, trivial))}
        )
        for learner, own, trivial in jobs
    ]
    made = report(records)
    (finding,) = (f for f in made.sections[0].findings if "both halves" in f)
    assert "1 of 2 methods beat" in finding
    assert finding.endswith(": CoOp.")
    names = [row[0] for row in made.sections[0].headline.rows]
    assert names.count("— zero-shot for new names") == 2
    assert made.sections[0].headline.columns[1] == "Open"
