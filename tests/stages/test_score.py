"""Scoring by batch: draws are pooled, a kill costs some batches, and nothing is scored twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffuprompt.data.images import ImageBatch, Needs
from diffuprompt.engine.files import read_tensors, write_tensors
from diffuprompt.engine.progress import NULL
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.record import Variant, unpack_hits
from diffuprompt.runs.stage import Stage
from diffuprompt.runs.store import Store
from diffuprompt.stages import score as module
from diffuprompt.stages.metrics import Answers, measures, pooled
from diffuprompt.stages.score import Ask, Maker, Result, score_stage, scored

LABELS = torch.arange(100) % 4  # more images than a batch


class Images:
    """Labels, and batches whose features are the places of their images."""

    labels, classes = LABELS, ("a", "b", "c", "d")

    def __len__(self) -> int:
        return len(LABELS)

    def warm(self, needs: object) -> None:
        """There is nothing to compute ahead."""

    def rows(self, index: Tensor) -> Tensor:
        return index[:, None].float()

    def batch(self, index: Tensor, *, needs: object) -> ImageBatch:
        return ImageBatch(None, LABELS[index], index, self.rows(index))


class Learner:
    """A learner whose prompts are its logits; its own are right."""

    spec = SimpleNamespace(unpack=lambda flat: flat, pack=lambda prompts: prompts)

    def __init__(self) -> None:
        self.needs = Needs()
        self.batches: list[int] = []
        self.texts = 0

    def prompts(self, features: Tensor) -> Tensor:
        return torch.zeros(1, 4)

    def static_text(self, classes: object) -> None:
        self.texts += 1

    def logits(
        self, batch: ImageBatch, classes: object, prompts: Tensor | None, text: None
    ) -> Tensor:
        assert batch.index is not None
        self.batches.append(int(batch.index[0]))
        return torch.eye(4)[LABELS[batch.index]] if prompts is None else prompts


def stage(variant: Variant) -> Stage:
    how = variant.model_dump(mode="json")
    return score_stage(variant=how, config={}, inputs={"test": "t", "learner": "l"})


def score(
    folder: Path,
    variant: Variant,
    makers: Sequence[Maker] = (),
    learner: Learner | None = None,
    save_every_s: float = 30.0,
) -> Result:
    bench: Any = SimpleNamespace(progress=NULL, save_every_s=save_every_s)
    who: Any = learner or Learner()
    return scored(bench, Store(folder), stage(variant), who, Images(), lambda: makers, "scoring")


def draws() -> list[Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [2 * torch.randn(len(LABELS), 4, generator=stream) for _ in range(3)]


def makers(*logits: Tensor) -> list[Maker]:
    return [lambda ask, all_=each: all_[ask.index] for each in logits]  # type: ignore[misc]


def expected(logits: Tensor) -> tuple[Answers, dict[str, float]]:
    answers = Answers.empty(len(LABELS))
    answers.put(0, [logits], LABELS)
    return answers, measures(answers, LABELS)


def test_several_draws_are_scored_by_their_mean_probability(tmp_path: Path) -> None:
    logits = draws()
    found = score(tmp_path, Variant.generated("x", draws=3), makers(*logits))
    mean = torch.stack([each.double().softmax(1) for each in logits]).mean(0)
    answers, metrics = expected(mean.log())
    assert unpack_hits(found.hits, found.total) == (answers.predicted == LABELS).tolist()
    for name in ("nll", "ece", "aurc", "macro_f1"):
        # float64 sums in two orders
        assert found.metrics[name] == pytest.approx(metrics[name], abs=1e-10)
    assert found.metrics["nll"] != pytest.approx(expected(logits[0])[1]["nll"], abs=0.1)


def test_one_draw_and_own_prompts_are_scored_as_they_are(tmp_path: Path) -> None:
    one = draws()[0]
    assert pooled([one]) is one
    found = score(tmp_path, Variant.generated("x"), makers(one))
    assert found.metrics == expected(one)[1]
    learner = Learner()
    own = score(tmp_path, Variant.own(), learner=learner)
    assert own.metrics["accuracy"] == 100
    assert ("generate_ms" in own.timings, "generate_ms" in found.timings) == (False, True)
    assert learner.texts == 1  # not once per batch


def test_a_maker_is_told_images_features_and_own_prompts_of_its_batch(tmp_path: Path) -> None:
    seen: list[Ask] = []

    def make(ask: Ask) -> Tensor:
        seen.append(ask)
        return ask.initial

    score(tmp_path, Variant.generated("x"), [make])
    assert torch.equal(torch.cat([ask.index for ask in seen]), torch.arange(len(LABELS)))
    for ask in seen:
        assert torch.equal(ask.features, Images().rows(ask.index))
        assert ask.initial.shape == (len(ask.index), 4)
        assert len(ask.index) <= module.BATCH  # never prompts of all images at once


def test_nothing_is_scored_twice_and_ways_are_told_apart(tmp_path: Path) -> None:
    one = draws()[0]
    first = score(tmp_path, Variant.generated("x"), makers(one))

    def never(ask: Ask) -> Tensor:
        raise AssertionError("it is scored already")

    assert score(tmp_path, Variant.generated("x"), [never]) == first
    with pytest.raises(AssertionError, match="scored already"):
        score(tmp_path, Variant.generated("x", nfe=3), [never])


def test_a_score_that_was_cut_off_goes_on_behind_the_last_saved_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 16)
    one, cut = draws()[0], 3

    def dies(ask: Ask) -> Tensor:
        if int(ask.index[0]) == 16 * cut:
            raise KeyboardInterrupt
        return one[ask.index]

    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, Variant.generated("x"), [dies], save_every_s=0)
    assert not Store(tmp_path).folder(stage(Variant.generated("x"))).is_finished
    learner = Learner()
    found = score(tmp_path, Variant.generated("x"), makers(one), learner)
    assert learner.batches == list(range(16 * cut, 100, 16))
    assert found.metrics == expected(one)[1]
    assert not Store(tmp_path).folder(stage(Variant.generated("x"))).work.exists()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.9, "cut", "unsealed"])
def test_answers_that_were_damaged_are_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, share: float | str
) -> None:
    monkeypatch.setattr(module, "BATCH", 16)
    one = draws()[0]

    def dies(ask: Ask) -> Tensor:
        if int(ask.index[0]) == 48:
            raise KeyboardInterrupt
        return one[ask.index]

    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, Variant.generated("x"), [dies], save_every_s=0)
    path = Store(tmp_path).folder(stage(Variant.generated("x"))).work / module.ANSWERS
    data = bytearray(path.read_bytes())
    if share == "cut":
        data = data[:-3]
    elif share == "unsealed":  # as earlier versions wrote them
        write_tensors(path, read_tensors(path)[0], {"done": "48", "seconds": "1 1"})
        data = bytearray(path.read_bytes())
    else:
        data[int(float(share) * len(data))] ^= 1
    path.write_bytes(data)
    learner = Learner()
    found = score(tmp_path, Variant.generated("x"), makers(one), learner)
    assert learner.batches == list(range(0, 100, 16))
    assert found.metrics == expected(one)[1]
    assert str(path) in caplog.text


@pytest.mark.parametrize("size", [25, 30])  # the last batch is whole, or not
def test_a_score_that_was_cut_off_after_its_last_batch_is_only_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """It could never be finished: the last batch was scored again, behind the end."""
    monkeypatch.setattr(module, "BATCH", size)
    measure = module.measures

    def dies(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "measures", dies)
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, Variant.own(), save_every_s=0)
    monkeypatch.setattr(module, "measures", measure)
    learner = Learner()
    assert score(tmp_path, Variant.own(), learner=learner).metrics["accuracy"] == 100
    assert not learner.batches


def test_an_altered_score_is_not_believed(tmp_path: Path) -> None:
    score(tmp_path, Variant.own())
    path = Store(tmp_path).folder(stage(Variant.own())).path / module.RESULT
    path.write_text(path.read_text().replace("100.0", "99.0", 1))
    with pytest.raises(CheckpointError, match="not the file that was written; delete"):
        score(tmp_path, Variant.own())


def test_means_over_draws_are_asked_of_generators_with_noise_only() -> None:
    asked = Evaluation(controls="none", samples=8)
    own, generated = Variant.own(), Variant.generated("diffusion")
    many = Variant.generated("diffusion", draws=8)
    assert asked.variants("diffusion") == (own, generated, many)
    assert asked.variants("mlp") == (own, Variant.generated("mlp"))
    assert asked.variants("none") == (own,)
    assert Evaluation(controls="none").variants("vae") == (own, Variant.generated("vae"))
    with pytest.raises(ConfigError, match=r"evaluation\.samples: got 0, expected .* from 1"):
        Evaluation(samples=0)
