"""Joint training and the paper's preset, from a job to a record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffuprompt.jobs.workbench import prepare
from tests.contract.generators import shrink_networks
from tests.world import small_job

from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import DiffusionConfig, FitConfig, OverfitConfig
from diffuprompt.generators.registry import build_generator
from diffuprompt.generators.settings import NAMED_SETTINGS
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig, resolve
from diffuprompt.jobs.train import train_job
from diffuprompt.prompts import PromptSpec, Slot
from diffuprompt.record import read_record


@pytest.mark.parametrize(
    ("learner", "overrides"),
    [
        ("cocoop", ("diffusion.preset=paper",)),
        ("maple", ("depth=2", "fit.mode=joint", "fit.ce_weight=1")),
        ("vpt", ("vision_depth=2", "fit.mode=joint", "fit.ce_weight=1", "overfit.negatives=1")),
    ],
)
def test_joint_training_moves_the_learner_and_is_scored(
    learner: str,
    overrides: tuple[str, ...],
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shrink_networks(monkeypatch)
    asked = small_job(world, tmp_path, learner, *overrides)
    run = train_job(asked)
    assert train_job(asked) == run  # finished: nothing to do
    record = read_record(evaluate_run(run))
    assert {s.variant.label for s in record.scores} >= {"own", "diffusion", "oracle", "nearest"}
    assert record.config["fit"]["mode"] == "joint"
    # the learner before joint training is that of the run without a generator
    plain = JobConfig(
        **{**vars(asked), "generator": "none", "overrides": asked.overrides[:1] + tuple(
            o for o in overrides if not o.startswith(("fit.", "overfit.", "diffusion."))
        )}
    )  # fmt: skip
    clip = prepare(plain, NULL).clip
    before = load_artifact(train_job(plain) / "artifact", clip=clip).learner.state_dict()
    after = load_artifact(run / "artifact", clip=clip).learner.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[k], after[k]) for k in before)


def test_a_sweep_over_evaluations_leaves_out_what_amed_was_not_fitted_for(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the record is finished then: a study must not ask for the rest again and again."""
    shrink_networks(monkeypatch)
    asked = Evaluation(controls="none", nfe=(1, 5, 6))
    run = train_job(small_job(world, tmp_path, "cocoop", "diffusion.sampler=amed"))
    with caplog.at_level("INFO", logger="diffuprompt"):
        record = read_record(evaluate_run(run, evaluation=asked))
    assert "nfe [1, 6] left out: AMED was fitted for 5 evaluations only" in caplog.text
    assert {s.variant.label for s in record.scores} == {"own", "diffusion", "diffusion@nfe=5"}
    assert asked.is_in(record)
    assert asked.steps("diffusion", {"diffusion": {"sampler": "ddim", "nfe": 5}}) == (1, 5, 6)


def test_a_preset_sets_what_it_says_and_what_stands_beside_it_counts_more() -> None:
    def resolved(*overrides: str):
        asked = JobConfig(data="scenes", generator="diffusion", overrides=overrides)
        return resolve(
            asked, dataset="scenes", backbone="b", own_pictures=False, logit_scale=100.0
        ).to_json()

    paper = resolved("diffusion.preset=paper")
    (preset,) = (p for p in NAMED_SETTINGS if p.name == "paper")
    for key, value in preset.settings.items():
        section, field = key.split(".")
        assert paper[section][field] == value, key
    mixed = resolved("fit.lr=0.1", "diffusion.preset=paper", "diffusion.nfe=9")
    assert (mixed["fit"]["lr"], mixed["diffusion"]["nfe"]) == (0.1, 9)
    assert mixed["fit"]["normaliser"] == "none"
    with pytest.raises(ConfigError, match=r"diffusion\.preset: .*Did you mean 'paper'\?"):
        resolved("diffusion.preset=papper")


@pytest.mark.parametrize("preset", NAMED_SETTINGS, ids=lambda p: f"{p.section}-{p.name}")
def test_a_preset_is_settings_that_exist_and_build(preset) -> None:
    sections = {"overfit": {}, "fit": {}, preset.section: {}}
    for key, value in preset.settings.items():
        section, field = key.split(".")
        sections[section][field] = value
    OverfitConfig(**sections["overfit"])
    spec = PromptSpec((Slot(name="text.0", tower="text", layer=0, length=4, width=8),))
    generator = build_generator(
        "diffusion",
        spec,
        8,
        DiffusionConfig(**sections["diffusion"]),
        FitConfig(**sections["fit"]),
        seed=0,
    )
    own = torch.zeros(1, spec.size)
    with torch.no_grad():
        assert torch.equal(generator.eval().sample(torch.ones(1, 8), own), own)
