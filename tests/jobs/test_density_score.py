"""The generator as a classifier, from its parts to a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.accelerator import DEVICE, accelerator
from tests.contract.generators import shrink_networks
from tests.world import open_job, small_job
from torch import Tensor

from diffuprompt.generators import OverfitConfig
from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.train import train_job
from diffuprompt.record import Judging, Variant, read_record
from diffuprompt.stages import Ask, Judge, oracle_prompts
from diffuprompt.stages.flat_prompts import own_of

pytestmark = pytest.mark.usefixtures("own_cache")


def test_names_are_judged_as_oracles_of_themselves(world: Path, tmp_path: Path) -> None:
    """With the true label for the only candidate, V*_y is what the oracle finds with it."""
    job = open_job(small_job(world, tmp_path, "cocoop"))
    learner, images = job.learner().requires_grad_(False).eval(), job.tests["base"]
    index = torch.arange(len(images))
    config, features = OverfitConfig(steps=2, lr=0.5), images.rows(index)
    ask = Ask(index, features, own_of(learner, features))
    want = oracle_prompts(learner, images, config, 0.5)(ask)
    judge = Judge(learner, images, _never, Judging(steps=0), config, 0.5)
    got = judge.prompts(index, ask.initial, images.labels)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)  # batches of other sizes
    assert not torch.equal(got, ask.initial)
    # "steps" replaces those of training
    short = Judge(learner, images, _never, Judging(), config, 0.5)
    assert not torch.allclose(short.prompts(index, ask.initial, images.labels), want)

    logits = torch.tensor([[3.0, 2.5, -1.0, 0.0], [9.0, 2.5, 1.0, 0.0]])[:, : len(images.classes)]
    two = Ask(index[:2], ask.features[:2], ask.initial[:2])

    def scored(costs: list[float], **how: Any) -> Tensor:
        judge = Judge(learner, images, _fixed(costs), Judging(**how), config, 0.5)
        return judge(two, logits)

    # of the first image the runner-up is more likely, and no other name overtakes a candidate
    found = scored([0.3, 0.1, 0.3, 0.1], weight=10.0, candidates=2)
    assert found[0].argsort(descending=True).tolist()[:2] == [1, 0]
    torch.testing.assert_close(found[0, :2], torch.tensor([0.0, 1.5]))
    torch.testing.assert_close(found[0, 2:], logits[0, 2:] - 3.0)
    # the margin leaves the sure image alone: one image with two candidates is asked about
    kept = scored([0.3, 0.1], weight=10.0, candidates=2, margin=1.0)
    torch.testing.assert_close(kept[0], found[0])
    torch.testing.assert_close(kept[1], logits[1])


def test_candidates_on_an_accelerator_find_pictures_that_are_counted_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.device] = []

    def logits(flat: Tensor, index: Tensor, classes: Tensor | None = None, /) -> Tensor:
        seen.append(index.device)
        return flat[:, :3] * 2

    monkeypatch.setattr("diffuprompt.stages.candidates.learner_logits", lambda *of: logits)
    with accelerator():
        of: Any = None
        judge = Judge(of, of, _never, Judging(), OverfitConfig(steps=1, lr=0.5), 0.5)
        initial, names = torch.zeros(2, 4, device=DEVICE), torch.tensor([2, 0], device=DEVICE)
        found = judge.prompts(torch.arange(2), initial, names).cpu()
    assert found[:, :3].argmax(1).tolist() == [2, 0]
    assert set(seen) == {DEVICE}


def _never(*of: Tensor) -> Tensor:
    raise AssertionError("nothing is judged here")


def _fixed(costs: list[float]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda flat, features, initial: torch.tensor(costs)[: len(flat)]


def test_a_run_is_scored_by_density_beside_its_control(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_networks(monkeypatch)
    run = train_job(small_job(world, tmp_path, "vpt", "vision_depth=2"))
    plain = Evaluation(controls="none")
    evaluate_run(run, evaluation=plain)
    before = {path.parent.name for path in (tmp_path / ".stages" / "score").glob("*/done.json")}
    asked = Evaluation(controls="none", score="density", sigmas=(1.0,), candidates=2)
    record = read_record(evaluate_run(run, evaluation=asked))
    labels = {"own", "diffusion"}
    judged = {"diffusion@density,sigmas=1,k=2", "diffusion@distance,k=2"}
    assert {s.variant.label for s in record.scores} == labels | judged
    for score in record.scores:
        assert ("judge_ms" in score.timings) == (score.variant.label in judged)
    # what was scored before keeps its key
    assert evaluate_run(run, evaluation=plain) == run / "record.json"
    evaluate_run(run, evaluation=plain, again=True)
    after = {path.parent.name for path in (tmp_path / ".stages" / "score").glob("*/done.json")}
    assert before < after
    assert len(after) == len(before) + 4


def test_only_generated_prompts_as_configured_are_judged() -> None:
    for wrong in ({"prompts": "own"}, {"nfe": 3}, {"draws": 2}):
        values: dict[str, Any] = {"prompts": "generated", "generator": "diffusion", **wrong}
        if wrong == {"prompts": "own"}:
            del values["generator"]
        with pytest.raises(ValueError, match="judged"):
            Variant(**values, judged=Judging())
    own = Evaluation(controls="none", score="density").variants
    assert [v.label for v in own("flow")] == ["own", "flow", "flow@density"]
    assert [v.label for v in own("mlp")] == ["own", "mlp"]
