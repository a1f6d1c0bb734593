"""Every rival of diffusion through train and evaluate, and what of its settings enters a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.contract.generators import shrink_networks
from tests.jobs.test_job import resolved
from tests.jobs.test_learners_end_to_end import job

from diffuprompt.generators.kinds import KINDS
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.job import Resolved
from diffuprompt.jobs.train import train_job
from diffuprompt.record import Variant, read_record

RIVALS = tuple(name for name in KINDS if name != "diffusion")
CONTROLS = {"shuffled", "noise", "nearest", "mean", "oracle"}  # a regression is diffusion's only


@pytest.mark.parametrize("name", RIVALS)
def test_train_and_evaluate(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_networks(monkeypatch)
    fast = ("epochs=1", "fit.epochs=2", "overfit.steps=1", "overfit.lr=0.1")
    run = train_job(job(world, tmp_path, "cocoop", *fast, generator=name))
    asked = json.loads((run / "run.json").read_text())["resolved"]
    assert "diffusion" not in asked
    assert set(asked["rival"]) == set(KINDS[name].reads)
    record = read_record(evaluate_run(run))
    assert {s.variant.label for s in record.scores} == {"own", name} | CONTROLS
    assert set(record.seconds) == {"learner", "overfit", name, "evaluate"}
    assert record.statistics["generated_mse"] > 0
    assert (record.statistics["generated_spread"] > 0) == (name not in ("mlp", "transformer"))
    assert ("normaliser_explained" in record.statistics) == (name == "flow")
    own, rival = (
        record.score(variant, "base") for variant in (Variant.own(), Variant.generated(name))
    )
    assert own is not None
    assert rival is not None
    assert own.metrics["nll"] != rival.metrics["nll"]


def values(name: str, *overrides: str) -> Resolved:
    return resolved(*overrides, learner="cocoop", generator=name)


@pytest.mark.parametrize("name", RIVALS)
def test_only_what_a_rival_reads_tells_its_runs_apart(name: str) -> None:
    base = values(name)
    assert Resolved.from_json(json.loads(json.dumps(base.to_json()))) == base
    others = {"size": "paper", "latent": 5, "kl_weight": 0.5, "temperature": 0.5}
    for key, value in others.items():
        changed = values(name, f"rival.{key}={value}")
        assert (changed.hash != base.hash) == (key in KINDS[name].reads), key
    assert values(name, "diffusion.nfe=3").hash == base.hash
    assert values(name, "fit.lr=0.123").hash != base.hash


def test_a_kinds_own_defaults_give_way_to_what_is_asked() -> None:
    assert values("flow").fit.normaliser == "whiten"
    assert values("flow", "fit.rank=7").fit.rank == 7
    assert (values("gan").fit.lr, values("gan").rival.latent) == (2e-4, 128)
    assert values("gan", "fit.lr=0.001").fit.lr == 1e-3
    assert values("mlp").fit == values("diffusion").fit
