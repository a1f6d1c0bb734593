"""Scores of several draws of prompts are scores of the mean of their probabilities."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffuprompt.stages.scorer import Scorer
from torch import Tensor

from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.record import Variant
from diffuprompt.stages.metrics import pooled, score

LABELS = torch.arange(100) % 4  # more images than a batch


class Images:
    """Labels alone, and batches that are their places."""

    labels, classes = LABELS, ("a", "b", "c", "d")

    def __len__(self) -> int:
        return len(LABELS)

    def warm(self, needs: object) -> None:
        """Nothing."""

    def batch(self, index: Tensor, *, needs: object) -> Tensor:
        return index


class Learner:
    """A learner whose prompts are its logits."""

    needs = None
    spec = SimpleNamespace(unpack=lambda flat: flat)

    def static_text(self, classes: object) -> None:
        return None

    def logits(self, batch: Tensor, classes: object, prompts: Tensor | None, text: None) -> Tensor:
        return torch.eye(4)[LABELS[batch]] if prompts is None else prompts


def scorer(folder: Path) -> Any:
    learner: Any = Learner()
    return Scorer(learner, "x", folder, NULL)


def draws() -> list[Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [2 * torch.randn(len(LABELS), 4, generator=stream) for _ in range(3)]


def test_several_draws_are_scored_by_their_mean_probability(tmp_path: Path) -> None:
    logits = draws()
    made = Variant.generated("x", draws=3)
    found = scorer(tmp_path)(made, "all", Images(), *[lambda d=d: d for d in logits])
    mean = torch.stack([each.double().softmax(1) for each in logits]).mean(0)
    expected = score(made, "x", "all", mean.log(), LABELS)
    assert found.hits == expected.hits
    for name in ("nll", "ece", "aurc", "macro_f1"):
        # float64 sums in two orders
        assert found.metrics[name] == pytest.approx(expected.metrics[name], abs=1e-10)
    first = score(made, "x", "all", logits[0], LABELS)
    assert found.metrics["nll"] != pytest.approx(first.metrics["nll"], abs=0.1)


def test_one_draw_and_own_prompts_are_scored_as_they_are(tmp_path: Path) -> None:
    one = draws()[0]
    assert pooled([one]) is one
    generated = Variant.generated("x")
    found = scorer(tmp_path)(generated, "all", Images(), lambda: one)
    assert found.metrics == score(generated, "x", "all", one, LABELS).metrics
    own = scorer(tmp_path)(Variant.own(), "all", Images())
    assert own.accuracy == 100
    assert ("generate_ms" in own.timings, "generate_ms" in found.timings) == (False, True)


def test_means_over_draws_are_asked_of_generators_with_noise_only() -> None:
    asked = Evaluation(controls="none", samples=8)
    own, generated = Variant.own(), Variant.generated("diffusion")
    many = Variant.generated("diffusion", draws=8)
    assert asked.variants("diffusion") == {own, generated, many}
    assert asked.variants("mlp") == {own, Variant.generated("mlp")}
    assert asked.variants("none") == {own}
    assert Evaluation(controls="none").variants("vae") == {own, Variant.generated("vae")}
    with pytest.raises(ConfigError, match="at least 1"):
        Evaluation(samples=0)
