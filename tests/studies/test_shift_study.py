"""The study under shift: which jobs it is made of, and what its tables say of known records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.report import factory

from diffuprompt.cli.main import main
from diffuprompt.data import HALVES, find_sentences
from diffuprompt.data.halves import half_of
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.record import Record, Variant
from diffuprompt.report import OWN, Number, Section, build_sections, plain
from diffuprompt.report.load import Source
from diffuprompt.report.views import build_report
from diffuprompt.studies.shared import Shared
from diffuprompt.studies.shift.design import WORLDS, find_worlds
from diffuprompt.studies.shift.gains import GENERATED, ShiftGains, find_shift_gains
from diffuprompt.studies.shift.jobs import shift_jobs
from diffuprompt.studies.shift.report import ShiftReport
from diffuprompt.studies.shift.tables import shift_verdicts

PICTURES = 200
RIGHT = {"own": 100, "diffusion": 120, "regression": 110, "shuffled": 120}  # of each target


def record(
    right: dict[Any, int],
    *,
    learner: str = "coop",
    seed: int = 1,
    targets: tuple[str, ...] = ("scenes-sketch", "scenes-noisy"),
    generator: str = "diffusion",
) -> Record:
    """A record whose first pictures are answered rightly; half as many on the second target."""
    scores = [factory.score(made, "all", [True] * PICTURES) for made in right]
    for k, target in enumerate(targets):
        for made, count in right.items():
            hits = [i < count // (k + 1) for i in range(PICTURES)]
            scores.append(factory.score(made, "all", hits, target))
    whole = factory.record(learner=learner, generator=generator, seed=seed, protocol="few-shot")
    return whole.model_copy(update={"scores": tuple(scores)})


def section_of(*records: Record) -> Section:
    sources = [Source(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]
    (section,) = build_sections(sources)
    return section


def gains_of(*records: Record) -> ShiftGains:
    found = find_shift_gains(section_of(*records))
    assert found is not None
    return found


def test_a_gain_is_the_mean_over_targets_and_learners() -> None:
    """Diffusion: 60 % and 30 %, own: 50 % and 25 %: 7.5 points; none for the other learner."""
    gains = gains_of(record(RIGHT), record(dict.fromkeys(RIGHT, 80), learner="maple"))
    assert gains.targets == ("scenes-noisy", "scenes-sketch")
    coop, maple = gains.each
    own, over = gains.over(coop, OWN), gains.over(maple, OWN)
    assert own is not None
    assert own.estimate == pytest.approx(7.5)
    assert 0 < own.low < 7.5 < own.high
    assert over is not None
    assert (over.estimate, over.low, over.high) == (0, 0, 0)
    both = gains.mean_over(OWN)
    assert both is not None
    assert both.estimate == pytest.approx(3.75)
    assert gains.above == ()  # shuffled is as good as diffusion


def test_pictures_are_drawn_once_for_all_targets() -> None:
    """Two targets that always agree are no more evidence than one of them."""
    one = gains_of(record(RIGHT, targets=("scenes-sketch",)))
    base = record(RIGHT, targets=("scenes-sketch",))
    again = [s.model_copy(update={"dataset": "scenes-noisy"}) for s in base.scores[4:]]
    two = gains_of(base.model_copy(update={"scores": (*base.scores, *again)}))
    assert two.over(two.each[0], OWN) == one.over(one.each[0], OWN)


def test_a_folder_of_other_pictures_is_no_target_whatever_its_name() -> None:
    """Were it one, pictures could not be compared across targets, and no report could be made."""

    def corrupted(seed: int) -> Record:
        one = record(RIGHT, seed=seed, targets=("blur-5", "grey-5"))
        scores = [
            *(s.model_copy(update={"dataset": "caltech101"}) for s in one.scores[:4]),
            *(s for s in one.scores[4:] if s.dataset == "grey-5"),
            *(factory.score(made, "all", [True] * 7, "blur-5") for made in RIGHT),
        ]
        job = one.job.model_copy(update={"dataset": "caltech101"})
        return one.model_copy(update={"job": job, "scores": tuple(scores)})

    gains = gains_of(corrupted(1), corrupted(2))
    assert gains.targets == ("grey-5",)
    assert gains.mean_over(OWN) is not None


def test_tables_and_sentences_follow_from_the_records() -> None:
    records = [record({**RIGHT, "shuffled": 90}, seed=seed) for seed in (1, 2)]
    extras = ShiftReport().extras(section_of(*records), ())
    learners, targets = (part.table for part in extras.parts)
    cells = dict(zip(learners.columns, map(plain, learners.rows[0]), strict=True))
    assert (cells["source, own"], cells["targets, own"]) == ("100.00", "37.50")
    assert (cells["targets, + diffusion"], cells["Seeds"]) == ("45.00", "1, 2")
    assert cells["over shuffled"].startswith("+11.25 [")
    assert [plain(cell) for cell in targets.rows[0]] == ["CoOp", "+5.00", "+10.00"]
    last = targets.rows[-1][2]
    assert isinstance(last, Number)
    assert last.interval is not None
    assert extras.verdicts is not None
    first, second = extras.verdicts
    assert "(scenes to 2 targets, CoOp, seeds 1, 2)" in first
    assert "is above that with the learners' own prompts (+7.50 [" in first
    assert second.endswith("for 1 of 1: CoOp.")

    worse = ShiftReport().extras(section_of(record({**RIGHT, "diffusion": 60})), ())
    assert worse.verdicts is not None
    assert "is below that with the learners' own prompts" in worse.verdicts[0]
    equal = ShiftReport().extras(section_of(record(dict.fromkeys(RIGHT, 80))), ())
    assert equal.verdicts is not None
    assert "is not told apart from that with the learners' own prompts" in equal.verdicts[0]


def test_other_sections_are_left_alone() -> None:
    extras = ShiftReport().extras(section_of(factory.record()), ())
    assert (extras.parts, extras.verdicts) == ((), None)


def test_a_control_that_is_missing_leaves_a_gap() -> None:
    right = {name: count for name, count in RIGHT.items() if name != "shuffled"}
    gains = gains_of(record(right))
    assert gains.over(gains.each[0], Variant.of_control("shuffled", "diffusion")) is None
    (table, _) = (p.table for p in ShiftReport().extras(section_of(record(right)), ()).parts)
    assert table.rows[0][table.columns.index("over shuffled")] is None


def test_every_learner_is_scored_on_all_targets(tmp_path: Path) -> None:
    jobs = shift_jobs(
        Shared(data=""),
        WORLDS["living"],
        learners=("coop", "vpt"),
        seeds=(1, 2),
        made=tmp_path,
    )
    assert len(jobs) == 8
    assert {job.job.test_data for job in jobs} == {("caltech101-objects", "scenes")}
    assert {(j.job.data, j.job.protocol) for j in jobs} == {("caltech101-living", "few-shot")}
    made = shift_jobs(
        Shared(data=""),
        WORLDS["corruptions"],
        learners=("coop",),
        seeds=(1,),
        made=tmp_path,
        severities=(1, 5),
    )
    folders = [Path(test) for test in made[0].job.test_data]
    assert len(folders) == 14
    assert {folder.parent for folder in folders} == {tmp_path / "caltech101"}
    assert all(WORLDS["corruptions"].is_target(folder.name) for folder in folders)


def test_targets_that_are_not_written_yet_are_left_out_of_a_list(tmp_path: Path) -> None:
    def tests(*, only_written: bool) -> list[str]:
        (job,) = shift_jobs(
            *(Shared(data=""), WORLDS["corruptions"]),
            learners=("coop",),
            seeds=(1,),
            made=tmp_path,
            only_written=only_written,
        )[:1]
        return [Path(test).name for test in job.job.test_data]

    (tmp_path / "caltech101" / "blur-3").mkdir(parents=True)
    assert tests(only_written=True) == ["blur-3"]
    assert len(tests(only_written=False)) == 7


def test_a_world_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"'scene'\. Did you mean 'scenes'"):
        find_worlds(("scene",))


def test_the_worlds_say_what_is_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "shift", "--dry-run", "--data", "scenes"]
    assert main(words) == ConfigError.exit_code
    assert "choose some with --worlds" in capsys.readouterr().err
    words = ["study", "shift", "--dry-run", "--worlds", "scenes", "--severities", "5"]
    assert main(words) == ConfigError.exit_code
    assert "add --worlds corruptions" in " ".join(capsys.readouterr().err.split())


def test_a_half_has_the_sentences_of_the_whole(tmp_path: Path) -> None:
    (tmp_path / "coprompt-gpt").mkdir()
    (tmp_path / "coprompt-gpt" / "caltech_prompt.json").write_text('{"ant": ["six legs"]}')
    found = find_sentences("caltech101-living", ["ant"], root=tmp_path)
    assert found == {"ant": ("six legs",)}


def test_halves_share_no_class_and_miss_none() -> None:
    living, objects = HALVES.values()
    classes = sorted([*living, *objects])
    assert len(set(classes)) == len(classes) == 100
    items = tuple(Item(f"{label}.jpg", label) for label in range(100))
    whole = Manifest("caltech101", Path(), tuple(classes), {"test": items})
    halves = [half_of(whole, name) for name in HALVES]
    assert sorted(i.path for h in halves for i in h.splits["test"]) == sorted(i.path for i in items)
    for half in halves:
        assert [half.classes[i.label] for i in half.splits["test"]] == list(half.classes)
        assert list(half.classes) == sorted(half.classes)  # the order of the whole
    with pytest.raises(DataError, match="yin_yang"):
        half_of(whole.select(range(99)), "caltech101-living")


def test_an_attempt_stands_below_the_mean_and_has_a_sentence_of_its_own() -> None:
    """A setting is compared with its own controls, and with diffusion as it is."""
    main = record(RIGHT)
    tried = record({**RIGHT, "diffusion": 140})
    tried = tried.model_copy(
        update={"job": tried.job.model_copy(update={"setting": "overfit.views=styled"})}
    )
    before = ShiftReport().extras(section_of(main), ())
    after = ShiftReport().extras(section_of(main, tried), ())
    assert before.verdicts is not None
    assert after.verdicts is not None
    assert after.verdicts[:-1] == before.verdicts
    assert (
        "overfit.views=styled is above diffusion as it is on the targets (CoOp; "
        in (after.verdicts[-1])
    )
    (table, targets, attempts), (old, _) = (
        [part.table for part in extras.parts] for extras in (after, before)
    )
    cells = [plain(cell) for cell in attempts.rows[0]]
    assert cells[:6] == ["overfit.views=styled", "CoOp", "100.00", "100.00", "45.00", "52.50"]
    assert cells[6].startswith("+7.50 [")
    assert cells[7].startswith("+11.25 [")  # over the regression of diffusion as it is
    assert cells[8] == "1"
    assert len(attempts.rows) == 1
    assert table.rows[:-1] == old.rows
    assert plain(table.rows[-1][0]) == "CoOp · overfit.views=styled"
    assert plain(table.rows[-1][7]).startswith("+15.00 [")
    assert len(targets.rows) == 2


def test_another_generator_stands_beside_diffusion_and_in_no_mean() -> None:
    rival = record({"own": 100, "mlp": 140}, generator="mlp")
    before = ShiftReport().extras(section_of(record(RIGHT)), ())
    after = ShiftReport().extras(section_of(record(RIGHT), rival), ())
    assert before.verdicts is not None
    assert after.verdicts is not None
    assert after.verdicts[:-1] == before.verdicts
    said = "On the targets mlp in the place of diffusion is above it (CoOp; seeds 1): +7.50 ["
    assert after.verdicts[-1].startswith(said)
    (*_, part) = after.parts
    assert part.heading == "Other generators under shift"
    cells = [plain(cell) for cell in part.table.rows[0]]
    assert cells[:2] == ["mlp", "CoOp"]
    assert cells[4:6] == ["45.00", "52.50"]
    assert cells[6].startswith("+7.50 [")
    assert [p.table for p in after.parts[:-1]] == [p.table for p in before.parts]
    other = rival.model_copy(update={"config": {**rival.config, "precision": "bf16"}})
    assert gains_of(record(RIGHT), other).generators == {}, "of another precision"
    unscored = record({"own": 100, "mlp": 140}, generator="mlp", targets=())
    assert gains_of(record(RIGHT), unscored).generators == {}


def test_an_attempt_may_be_scored_of_the_same_run_and_of_some_seeds() -> None:
    """A control that no study asks for: 30 of 200 more than diffusion, and half on the second."""
    tried = {**RIGHT, Variant.of_control("trust", "diffusion"): 150}
    records = [record(tried), record(tried, learner="vpt"), record(RIGHT, seed=2)]
    gains = gains_of(*records)
    assert [one.setting for one in gains.each] == ["", ""]
    assert {(one.learner, one.setting, one.seeds) for one in gains.ablations} == {
        ("coop", "trust", (1,)),
        ("vpt", "trust", (1,)),
    }
    over = gains.over_plain(gains.attempts["trust"], GENERATED)
    assert over is not None
    assert over.estimate == pytest.approx(11.25)
    (*_, attempts) = (part.table for part in ShiftReport().extras(section_of(*records), ()).parts)
    assert [[plain(row[1]), plain(row[8])] for row in attempts.rows] == [
        ["CoOp", "1"],
        ["VPT", "1"],
        ["Mean", "1"],
    ]
    # without a seed in common nothing is said
    apart = gains_of(record(RIGHT), record(tried, seed=2, learner="vpt"))
    assert gains_of(record(RIGHT)).attempts == {}
    assert apart.over_plain([(apart.ablations[0], apart.each[0])], GENERATED) is None


def test_the_engine_leaves_other_test_sets_to_the_study() -> None:
    sources = [Source(path=Path("0.json"), record=record(RIGHT))]
    for studies, is_told in (((), True), ((ShiftReport(),), False)):
        (view,) = build_report(sources, studies=studies).sections
        assert any("Paired differences on other" in p.heading for p in view.parts) == is_told
        assert any("other test sets" in line for line in view.findings) == is_told


def test_which_sort_of_learner_gains_more() -> None:
    """MaPLe gains 20 of 200 pictures on the style and 10 on the noise; CoOp and CoCoOp nothing."""
    still = dict.fromkeys(RIGHT, 80)
    gains = gains_of(record(still), record(still, learner="cocoop"), record(RIGHT, learner="maple"))
    style = gains.multi_modal_minus_textual(("scenes-sketch",))
    assert style is not None
    assert style.estimate == pytest.approx(10)
    alone = gains.over(gains.each[2], OWN)
    both = gains.multi_modal_minus_textual(gains.targets)
    assert alone is not None
    assert both is not None
    assert (both.estimate, both.low, both.high) == pytest.approx(
        (alone.estimate, alone.low, alone.high)
    )  # to those who gain nothing, the difference is the gain
    said = shift_verdicts(gains)
    assert said[2].startswith("On changes of style (scenes-sketch), the gain of multi-modal ")
    assert "(MaPLe) is above that of textual ones (CoOp, CoCoOp): +10.00 [" in said[2]
    assert said[3].startswith("On damaged pictures (scenes-noisy)")
    assert len(shift_verdicts(gains_of(record(RIGHT)))) == 2
