"""The grounding study from made-up records: design, verdicts, page, summary and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.report import factory
from tests.report.grounding import grounding_record, write_grounding

from diffuprompt.cli.main import main
from diffuprompt.errors import DataError
from diffuprompt.jobs.grounding.recipes import RECIPES
from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.report import GroundingSource, check, write
from diffuprompt.studies.grounding.design import ABLATIONS, FROZEN, METHODS, OURS, TRANSFERS, WORLDS
from diffuprompt.studies.grounding.findings import WorldFindings, find
from diffuprompt.studies.grounding.page import make_page
from diffuprompt.studies.grounding.report import GroundingReport, write_grounding_results
from diffuprompt.studies.grounding.summary import make_summary
from diffuprompt.studies.grounding.trained_apart import trained_apart
from diffuprompt.studies.grounding.verdicts import Verdict, find_verdicts, presets_sentences

FEW = 60  # resamples
RIVALS = [entry.key for entry in METHODS if entry.group == "rival"]


def sources(records: list[GroundingRecord]) -> list[GroundingSource]:
    return [GroundingSource(path=Path(f"{i}.json"), record=r) for i, r in enumerate(records)]


def found(records: list[GroundingRecord], world: str = "scenes") -> WorldFindings:
    return next(f for f in find(sources(records), resamples=FEW) if f.world.name == world)


def full(world: str = "scenes", *, seeds: int = 3, **rates: float) -> list[GroundingRecord]:
    """Return every main row of a world; ``rates`` by keys, with underscores for dashes."""
    return [
        grounding_record(
            entry.key, seed, dataset=world, rate=rates.get(entry.key.replace("-", "_"))
        )
        for entry in METHODS
        for seed in range(1, min(entry.seeds, seeds) + 1)
    ]


def by_target(records: list[GroundingRecord], world: str = "scenes") -> dict[str, Verdict]:
    return {verdict.target: verdict for verdict in find_verdicts(found(records, world))}


def test_the_design_is_what_the_issue_asks_for() -> None:
    assert [world.name for world in WORLDS] == ["scenes", "crowds", "collages"]
    keys = [entry.key for entry in METHODS]
    assert len(keys) == len(set(keys))
    controls = {entry.key for entry in METHODS if entry.group == "control"}
    assert controls == {
        "oracle", "regression", "shuffled", "noise", "globals", "map-box", "mean-of-samples",
        "independent",
    }  # fmt: skip
    assert {"zero-shot", "diff-prompt", "paper", "released"} == set(keys) - controls - set(RIVALS)
    assert len(RIVALS) == 14
    assert set(keys) == set(RECIPES), "a row is what a job may be"
    settings = [ablation.setting for ablation in ABLATIONS]
    assert settings == [
        "depth=1", "depth=2", "depth=4", "depth=6", "length=2", "length=4", "length=8",
        "without=visual", "without=text", "without=global",
        "nfe=1", "nfe=2", "nfe=4", "nfe=8", "nfe=25", "order=clean", "order=noisy", "order=all",
    ]  # fmt: skip
    assert all(varied.settings or varied.masks_from for varied in (*ABLATIONS, *TRANSFERS))


def test_a_target_is_met_or_missed_by_so_much() -> None:
    records = full(diff_prompt=0.9, zero_shot=0.3, regression=0.9)
    verdicts = by_target(records)
    gain = [r.tests[0].metrics["r1"] for r in records if r.job.method == OURS]
    frozen = next(r.tests[0].metrics["r1"] for r in records if r.job.method == FROZEN)
    first = verdicts["R@1 at least 8.9 points above Zero-shot"]
    assert first.status == "met"
    assert first.by == pytest.approx(sum(gain) / 3 - frozen - 8.9)
    assert "R@5 at least 14 points above Zero-shot" not in verdicts, "asked of crowds alone"
    assert "UB not below Zero-shot by more than 0.5 points" in verdicts
    worse = by_target(full("crowds", diff_prompt=0.4, zero_shot=0.6), "crowds")
    missed = worse["R@5 at least 14 points above Zero-shot"]
    assert missed.status == "missed"
    assert missed.by is not None
    assert f"MISSED by {-missed.by:.2f} points" in missed.sentence
    few = worse["At least 2,000 test expressions"]
    assert (few.status, few.text) == ("missed", "There are 60 on 30 pictures.")


def test_ahead_of_every_rival_needs_intervals_apart_and_every_rival() -> None:
    asked = "Ahead of every rival at R@1 with intervals apart"
    ahead = full(diff_prompt=1.2, **{key.replace("-", "_"): 0.2 for key in RIVALS})
    assert by_target(ahead)[asked].status == "met"
    beside = full(diff_prompt=0.7, **{key.replace("-", "_"): 0.2 for key in RIVALS[1:]}, coop=0.69)
    verdict = by_target(beside)[asked]
    assert verdict.status == "missed"
    assert "the nearest is CoOp" in verdict.text
    without = by_target([r for r in ahead if r.job.method != "lora"])[asked]
    assert without.status == "open"
    assert "Not measured: LoRA." in without.text


def test_one_seed_decides_nothing() -> None:
    verdict = by_target(full(seeds=1, diff_prompt=0.9, zero_shot=0.3))[
        "R@1 at least 8.9 points above Zero-shot"
    ]
    assert verdict.status == "open"
    assert verdict.by is not None
    assert "on 1 of 3 seeds" in verdict.text
    nothing = by_target([grounding_record(FROZEN)])["R@1 at least 8.9 points above Zero-shot"]
    assert (nothing.status, nothing.by) == ("open", None)
    assert nothing.text == "Missing: Diff-Prompt."


def test_presets_localise_when_they_beat_prompts_without_a_mask() -> None:
    localises, not_so = presets_sentences(found(full(paper=1.2, released=0.5)))
    assert localises.startswith("Diff-Prompt as in the paper localises.")
    assert (
        "as released does not localise, probably because its condition is one pooled vector"
        in not_so
    )
    assert "its masks overlap the true ones by" in not_so
    assert not list(presets_sentences(found([grounding_record("paper")])))


def test_what_is_missing_is_named_everywhere() -> None:
    records = [
        r for r in full() if r.job.method != "vpt" and (r.job.method, r.job.seed) != ("mma", 3)
    ]
    missing = found(records).missing
    assert missing[:2] == ("VPT (vpt)", "MMA: 2 of 3 seeds are there")
    assert "Diff-Prompt on scenes/held-out looks" in missing
    assert "depth 1 (depth=1)" in missing
    text = make_page(sources(records), resamples=FEW)
    (row,) = [line for line in text.splitlines() if line.startswith("| VPT") and "missing" in line]
    assert row.count("—") == 12
    assert "**Missing:** VPT (vpt); MMA: 2 of 3 seeds are there;" in text
    assert text.count("**Not run yet: every row of this world is missing.**") == 2
    made = make_summary(sources(records), resamples=FEW)
    assert made["missing"]["scenes"] == list(missing)
    assert len(made["missing"]["crowds"]) == len(METHODS) + 1
    assert "vpt" not in made["scenes"]


@pytest.fixture(scope="module")
def everything() -> list[GroundingRecord]:
    """Return a whole study with its other test sets, ablations and the transfer."""
    records = [r for world in WORLDS for r in full(world.name)]
    scored = {world.name for world in WORLDS if world.others}
    records = [r for r in records if r.job.method not in (FROZEN, OURS)
               or r.job.dataset not in scored]  # fmt: skip
    for world in WORLDS:
        for method, seeds in ((FROZEN, 1), (OURS, 3)) if world.others else ():
            for seed in range(1, seeds + 1):
                values: dict[str, Any] = {"tests": world.others, "trainable": 27_800}
                records.append(grounding_record(method, seed, dataset=world.name, **values))
    for varied in (*ABLATIONS, *TRANSFERS):
        records.append(
            grounding_record(
                OURS, 1, dataset=varied.world, setting=varied.setting, tests=varied.tests[1:]
            )
        )
    return records


def test_the_summary_has_the_keys_that_are_asked_for(everything: list[GroundingRecord]) -> None:
    records = everything
    made = make_summary(sources(records), resamples=FEW)
    assert made["schema_name"] == "diffuprompt.grounding-summary/1"
    for world in WORLDS:
        assert list(made[world.name]) == [entry.key for entry in METHODS]
        for entry in made[world.name].values():
            for measure in ("r1", "r5", "ub"):
                low, high = entry[f"{measure}_ci"]
                assert low <= entry[measure] <= high
            assert isinstance(entry["trainable_parameters"], int)
    ours = made["scenes"][OURS]
    values = [r.tests[0].metrics["r1"] for r in records if r.job.method == OURS
              and r.job.dataset == "scenes" and not r.job.setting]  # fmt: skip
    assert ours["r1"] == pytest.approx(sum(values) / 3, abs=1e-4)
    assert ours["trainable_parameters"] == 27_800
    assert ours["train_seconds"] == 102.0
    assert ours["ms_per_picture"] == 14.5
    assert ours["r1_below_diff_prompt"] == 0
    other = made["scenes"]["coop"]
    gain = ours["r1"] - other["r1"]
    assert other["r1_below_diff_prompt"] == pytest.approx(gain, abs=1e-3)
    assert list(made["ablations"]) == [v.setting for v in (*ABLATIONS, *TRANSFERS)]
    first = made["ablations"]["depth=1"]
    seed_1 = next(r for r in records if (r.job.method, r.job.setting, r.job.seed) == (OURS, "", 1)
                  and r.job.dataset == "scenes")  # fmt: skip
    assert first["r1_over_main"] == pytest.approx(
        first["r1"] - seed_1.tests[0].metrics["r1"], abs=1e-3
    ), "against the same seed"
    new = made["ablations"]["classes=base"]
    assert (new["world"], new["test"]) == ("collages", "collages/new")
    on_new = made["generalization"]["collages"]["collages/new"]
    assert new["r1"] != made["collages"][OURS]["r1"], "it is scored on the classes left out"
    assert FROZEN in on_new
    text = make_page(sources(records), resamples=FEW)
    rows = [line for line in text.splitlines() if line.startswith("| Held-out classes |")]
    assert [row.split(" | ")[1] for row in rows] == [
        "as it is", "trained on base classes alone, tested on the new ones",
    ]  # fmt: skip
    assert set(made["generalization"]["scenes"]) == set(WORLDS[0].others)
    assert set(made["generalization"]["scenes"]["crowds"]) == {FROZEN, OURS}
    assert not any(made["missing"].values())
    assert json.loads(json.dumps(made)) == made


def test_a_page_does_not_depend_on_the_order_of_files() -> None:
    made = sources([*full(seeds=2)[:4], grounding_record(OURS, setting="depth=2")])
    text = make_page(made, resamples=FEW)
    assert text == make_page(list(reversed(made)), resamples=FEW)
    assert text != make_page(made[1:], resamples=FEW)


def test_where_settings_are_chosen_is_no_result() -> None:
    chosen = grounding_record(OURS, tests=["scenes/val"])
    assert "scenes/val" not in found([chosen]).tests
    assert "scenes/val" not in make_page(sources([chosen]), resamples=FEW)


def test_a_page_shows_the_whole_study(everything: list[GroundingRecord]) -> None:
    text = make_page(sources(everything), notes="By hand.", resamples=FEW)
    assert "## Commentary\n\nBy hand." in text
    assert "**Missing:**" not in text
    for heading in ("## Scenes", "## Crowds", "## Collages", "### By kind of expression",
                    "### Generalization", "### Ablations", "## Commands"):  # fmt: skip
        assert heading in text
    assert "| scenes/held-out looks | Diff-Prompt |" in text
    assert "+8.87 R@1, +14.05 R@5" in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset": "ocean"}, "0.json: world 'ocean', expected one of scenes, crowds, collages"),
        ({"method": "sorcery"}, "method 'sorcery', expected one of zero-shot, diff-prompt"),
    ],
)
def test_records_of_something_else_are_refused(changed: dict[str, Any], message: str) -> None:
    record = grounding_record(OURS)
    job = record.job.model_copy(update=changed)
    with pytest.raises(DataError, match=message):
        find(sources([record.model_copy(update={"job": job})]), resamples=FEW)


def test_settings_of_ones_own_stand_below_the_main_row_of_their_method() -> None:
    main_row = grounding_record(OURS, tests=["scenes/val"])
    tried = grounding_record(OURS, setting="longer", tests=["scenes/val"])
    coop = grounding_record("coop", setting="depth=1")  # of Diff-Prompt only this is the study's
    text = make_page(sources([main_row, tried, coop]), resamples=FEW)
    table = text.partition("### Other settings")[2].partition("Settings that")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    gain = tried.tests[1].metrics["r1"] - main_row.tests[1].metrics["r1"]
    assert [row[:3] for row in rows if len(row) > 3][2:] == [
        ["Diff-Prompt", "as it is", "scenes"], ["Diff-Prompt", "longer", "scenes"],
        ["Diff-Prompt", "as it is", "scenes/val"], ["Diff-Prompt", "longer", "scenes/val"],
        ["CoOp", "depth=1", "scenes"],
    ]  # fmt: skip
    (longer,) = (row for row in rows if row[1:3] == ["longer", "scenes/val"])
    assert longer[7].startswith(f"{gain:+.1f}".replace("-", "−"))
    assert "Other settings" not in make_page(sources([main_row]), resamples=FEW)


def test_the_files_are_made_and_checked_with_the_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = factory.write(tmp_path / "results", [factory.record(generator="none")])
    folder = write_grounding(results / "grounding", full()[:4])
    paths = write_grounding_results(folder)
    assert [path.name for path in paths] == ["RESULTS.md", "grounding-recall.svg", "summary.json"]
    assert "R@1, per cent" in paths[1].read_text()
    document = tmp_path / "RESULTS.md"
    first = {path: path.read_bytes() for path in paths}
    write([results], document, studies=(GroundingReport(),))
    assert {path: path.read_bytes() for path in paths} == first
    check([results], document, studies=(GroundingReport(),))
    for path in paths:
        path.write_text(path.read_text().replace("data-sha256", "data-sha").replace("e", "f", 1))
        with pytest.raises(DataError, match=path.name):
            check([results], document, studies=(GroundingReport(),))
        path.write_bytes(first[path])
    page = folder / "RESULTS.md"
    page.unlink()
    with pytest.raises(DataError, match=r"grounding/RESULTS\.md does not exist"):
        check([results], document, studies=(GroundingReport(),))
    write([folder], page, studies=(GroundingReport(),))
    assert page.read_bytes() == first[page], "a study's page needs no record of classification"


def test_the_command_line_shows_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in full()[:2]:
        run = tmp_path / record.job.method
        run.mkdir()
        (run / "record.json").write_text(record.model_dump_json())
    assert main(["report", str(tmp_path)]) == 0
    assert "# Diff-Prompt on made-up worlds" in capsys.readouterr().out


def test_a_users_own_runs_are_a_plain_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [grounding_record(OURS, seed, dataset="my-birds", tests=("testA",)) for seed in (1, 2)]
    own.append(grounding_record("lora", dataset="my-birds", setting="rank=2"))
    own.append(grounding_record(OURS))  # of the study, among them
    for i, record in enumerate(own):
        (tmp_path / f"run-{i}").mkdir()
        (tmp_path / f"run-{i}" / "record.json").write_text(record.model_dump_json())
    assert main(["report", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "## my-birds with tiny-glip-my-birds" in text
    assert "## scenes with tiny-glip-scenes" in text
    assert "missing" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    of_birds = {(row[0], row[1]): row for row in rows if row[1] in ("my-birds", "testA")}
    assert set(of_birds) == {
        ("diff-prompt", "my-birds"), ("lora, rank=2", "my-birds"), ("diff-prompt", "testA"),
    }  # fmt: skip
    ours = of_birds["diff-prompt", "my-birds"]
    r1 = sum(record.tests[0].metrics["r1"] for record in own[:2]) / 2
    assert ours[2].startswith(f"{r1:.1f}")
    assert "[" in ours[2]
    assert ours[6:] == ["32,000", "2,290,000", "14.0", "60", "1, 2"]


def test_single_runs_have_no_page_and_other_folders_no_summary(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "record.json").write_text(grounding_record(OURS).model_dump_json())
    assert GroundingReport().files([tmp_path]) == {}
    with pytest.raises(DataError, match="no record of the task grounding"):
        GroundingReport().summary([factory.write(tmp_path / "other", [factory.record()])])


def test_rows_of_a_seed_whose_generator_was_trained_twice_are_named() -> None:
    def trained(key: str, seed: int, loss: float, setting: str = "") -> GroundingRecord:
        record = grounding_record(key, seed, dataset="scenes", setting=setting)
        fit = {"preset": "default", "masks_from": "", "expressions": {}, "generator_fit": {}}
        return record.model_copy(
            update={
                "config": {**record.config, **fit, "generator": {"condition": "tokens"}},
                "statistics": {"mask_generator_loss": loss},
            }
        )

    once = [trained(OURS, 1, 0.5), trained("regression", 1, 0.5), trained(OURS, 2, 0.4)]
    assert trained_apart(found(once)) == ()
    (sentence,) = trained_apart(found([*once, trained(OURS, 1, 0.7, "depth=1")]))
    assert sentence.startswith(
        "Seed 1: one training for Diff-Prompt, encoder's map, no diffusion (loss 0.500); "
        "another for depth=1 (loss 0.700)"
    )
    assert sentence in make_page(sources([*once, trained(OURS, 1, 0.7, "depth=1")]), resamples=FEW)
    again = [trained(OURS, 1, 0.5), trained("regression", 1, 0.6)]
    said = by_target(again)["R@1 not below encoder's map, no diffusion"].text
    assert said.endswith("With seed 1 the two read different trainings of one generator.")
    assert (
        "different trainings"
        not in by_target(once)["R@1 not below encoder's map, no diffusion"].text
    )
