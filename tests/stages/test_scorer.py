"""Scores of several draws of prompts are scores of the mean of their probabilities."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.stages.metrics import pooled, score
from diffuprompt.stages.scorer import Scorer

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
    return Scorer(learner, folder, NULL)


def draws() -> list[Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [2 * torch.randn(len(LABELS), 4, generator=stream) for _ in range(3)]


def test_several_draws_are_scored_by_their_mean_probability(tmp_path: Path) -> None:
    logits = draws()
    found = scorer(tmp_path)("x@samples=3", "all", Images(), *[lambda d=d: d for d in logits])
    mean = torch.stack([each.double().softmax(1) for each in logits]).mean(0)
    expected = score("x@samples=3", "all", mean.log(), LABELS)
    assert found.hits == expected.hits
    for name in ("nll", "ece", "aurc", "macro_f1"):
        # float64 sums in two orders
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-10)
    assert found.nll != pytest.approx(score("x", "all", logits[0], LABELS).nll, abs=0.1)


def test_one_draw_and_own_prompts_are_scored_as_they_are(tmp_path: Path) -> None:
    one = draws()[0]
    assert pooled([one]) is one
    found = scorer(tmp_path)("x", "all", Images(), lambda: one)
    assert found.nll == score("x", "all", one, LABELS).nll
    own = scorer(tmp_path)("own", "all", Images())
    assert own.accuracy == 100
    assert (own.generate_ms, found.generate_ms is None) == (None, False)


def test_means_over_draws_are_asked_of_generators_with_noise_only() -> None:
    asked = Evaluation(controls="none", samples=8)
    assert asked.variants("diffusion") == {"own", "diffusion", "diffusion@samples=8"}
    assert asked.variants("mlp") == {"own", "mlp"}
    assert asked.variants("none") == {"own"}
    assert Evaluation(controls="none").variants("vae") == {"own", "vae"}
    with pytest.raises(ConfigError, match="at least 1"):
        Evaluation(samples=0)
