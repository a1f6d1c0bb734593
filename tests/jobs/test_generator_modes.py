"""Joint training and the paper's preset, from a job to a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.contract.generators import hurry_amed, shrink_networks
from tests.world import open_job, small_job

from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import DiffusionConfig, FitConfig, OverfitConfig
from diffuprompt.generators.prompt_diffusion import PromptDiffusion
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
    hurry_amed(monkeypatch)
    asked = small_job(world, tmp_path, learner, *overrides)
    run = train_job(asked)
    assert train_job(asked) == run  # finished: nothing to do
    record = read_record(evaluate_run(run))
    assert {s.variant.label for s in record.scores} >= {"own", "diffusion", "oracle", "nearest"}
    assert record.config["fit"]["mode"] == "joint"
    # the learner before joint training is that of the run without a generator
    recipe = record.config["preset"]
    others = ("fit.", "overfit.", "diffusion.")
    own = (asked.overrides[0], *(o for o in overrides if not o.startswith(others)))
    plain = JobConfig(**{**vars(asked), "generator": "none", "preset": recipe, "overrides": own})
    clip = open_job(plain).bench.clip
    before = load_artifact(train_job(plain) / "artifact", clip=clip).learner.state_dict()
    after = load_artifact(run / "artifact", clip=clip).learner.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[k], after[k]) for k in before)


def test_amed_is_fitted_for_every_number_of_evaluations_of_one_network(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It served the configured number only, and left the others of a sweep out."""
    shrink_networks(monkeypatch)
    hurry_amed(monkeypatch)
    fitted: list[int | None] = []
    fit_solver = PromptDiffusion.fit_solver

    def counted(self: PromptDiffusion, *args: Any, nfe: int | None, **rest: Any) -> Any:
        fitted.append(nfe)
        return fit_solver(self, *args, nfe=nfe, **rest)

    monkeypatch.setattr(PromptDiffusion, "fit_solver", counted)
    asked = Evaluation(controls="none", nfe=(1, 5, 6))
    run = train_job(small_job(world, tmp_path, "cocoop", "diffusion.sampler=amed"))
    artifact = (run / "artifact" / "prompts.safetensors").read_bytes()
    trained = stages(tmp_path)
    assert {name: len(keys) for name, keys in trained.items()} == {
        "learner": 1, "overfit": 1, "generator": 1, "sampler": 1,
    }  # fmt: skip
    record = read_record(evaluate_run(run, evaluation=asked))
    sweep = {f"diffusion@nfe={n}" for n in asked.nfe}
    assert {s.variant.label for s in record.scores} == {"own", "diffusion", *sweep}
    after = stages(tmp_path)
    assert {name: after[name] for name in ("learner", "overfit", "generator")} == {
        name: trained[name] for name in ("learner", "overfit", "generator")
    }
    # as configured, which is 5 evaluations: 5 asked for by name are the same stage
    assert trained["sampler"] < after["sampler"]
    assert len(after["sampler"]) == 3
    assert (run / "artifact" / "prompts.safetensors").read_bytes() == artifact
    scores = {(s.variant.label, s.subset): (s.hits, s.metrics["nll"]) for s in record.scores}
    for subset in ("base", "new"):
        found = [scores[f"diffusion@nfe={n}", subset] for n in (1, 5, 6)]
        assert found[1] == scores["diffusion", subset]
        assert len({nll for _, nll in found}) == 3
    count = len(fitted)
    more = Evaluation(controls="none", nfe=(1, 5, 6, 2))
    evaluate_run(run, evaluation=more)
    assert fitted[count:] == [2]  # what has been fitted is only loaded
    assert evaluate_run(run, evaluation=more) == run / "record.json"
    assert len(fitted) == count + 1


def stages(runs: Path) -> dict[str, set[str]]:
    """Return the keys of all stages of training that are kept, by name."""
    found: dict[str, set[str]] = {}
    for done in (runs / ".stages").glob("*/*/done.json"):
        if done.parent.parent.name != "score":
            found.setdefault(done.parent.parent.name, set()).add(done.parent.name)
    return found


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
        assert key == "fit.batch" or paper[section][field] == value, key
    mixed = resolved("fit.lr=0.1", "diffusion.preset=paper", "diffusion.nfe=9")
    assert (mixed["fit"]["lr"], mixed["diffusion"]["nfe"]) == (0.1, 9)
    assert mixed["fit"]["normaliser"] == "none"
    with pytest.raises(ConfigError, match=r"diffusion\.preset: .*Did you mean 'paper'\?"):
        resolved("diffusion.preset=papper")


@pytest.mark.parametrize(
    ("learner", "batch", "options"),
    [
        ("vpt", 32, {"num_ctx": 0, "vision_ctx": 4}),
        ("cocoop", 4, {"num_ctx": 4}),
        ("maple", 32, {"num_ctx": 2, "vision_ctx": None, "depth": 9, "vision_depth": None}),
        ("promptsrc", 32, {"num_ctx": 2, "vision_ctx": None, "depth": 9, "vision_depth": None}),
        ("coprompt", 32, {"num_ctx": 2, "vision_ctx": None, "depth": 9, "vision_depth": None}),
        ("coop", 32, {"num_ctx": 4}),
    ],
)
def test_the_paper_is_what_its_section_5_1_says(
    learner: str, batch: int, options: dict[str, Any]
) -> None:
    """Without a recipe's name, and on a tower whose logit scale asks for "lite"."""

    def resolved(*overrides: str, preset: str = "auto") -> Any:
        asked = JobConfig(
            data="scenes",
            learner=learner,
            generator="diffusion",
            preset=preset,
            overrides=("diffusion.preset=paper", *overrides),
        )
        return resolve(asked, dataset="scenes", backbone="b", own_pictures=False, logit_scale=16.0)

    found = resolved()
    assert (found.preset, found.train.batch, found.fit.batch) == ("paper", batch, batch)
    assert (found.train.epochs, found.train.lr, found.train.algorithm) == (50, 0.0035, "sgd")
    assert (found.fit.epochs, found.fit.lr, found.fit.recipe) == (50, 0.0035, "sgd")
    assert {name: found.options[name] for name in options} == options
    assert (found.diffusion.network, found.diffusion.nfe, found.overfit.steps) == ("paper", 5, 5)
    assert resolved("fit.batch=7", "train.batch=8").fit.batch == 7
    # who asks for another recipe gets it, and the batch of before
    assert resolved(preset="lite").preset == "lite"
    assert resolved(preset="lite").fit.batch == 32


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
