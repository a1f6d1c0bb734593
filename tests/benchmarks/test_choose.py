"""What the benchmark of `choose` compares, without training anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from benchmarks.choose import compared, to_test
from tests.report import factory

from diffuprompt.record import Record, pack_hits


def choice(pick: tuple[str, str], *tried: tuple[str, str]) -> Any:
    rows = [SimpleNamespace(learner=a, generator=b, accuracy=50.0) for a, b in tried]
    winner = SimpleNamespace(learner=pick[0], generator=pick[1])
    question = SimpleNamespace(data="colours", seed=1)
    return SimpleNamespace(
        rows=rows, winner=winner, question=question, complete=True, seconds=60.0
    )  # fmt: skip


TRIED = (("coop", "none"), ("gda", "none"), ("coop", "diffusion"), ("vpt", "none"))


def test_the_pick_is_always_scored() -> None:
    assert to_test(choice(("vpt", "none"), *TRIED), ()) == list(TRIED)
    found = to_test(choice(("coop", "diffusion"), *TRIED), ("gda", "coop"))
    assert found == [("coop", "none"), ("gda", "none"), ("coop", "diffusion")]


def scored(hits: int) -> Record:
    """A record of one set of ten test images."""
    record = factory.record(generator="none")
    packed = pack_hits([True] * hits + [False] * (10 - hits))
    score = record.scores[0].model_copy(update={"hits": packed, "total": 10})
    return record.model_copy(update={"scores": (score,)})


def test_the_gap_is_to_the_best_on_the_test_set() -> None:
    records = {("coop", "none"): scored(6), ("gda", "none"): scored(9)}
    made = choice(("coop", "none"), *records)
    found = compared(made, records, bound=30.0, interval=False)
    assert (found["pick_accuracy"], found["best"], found["gap"]) == (60.0, "gda+none", 30.0)
    assert found["meets"]
    assert not compared(made, records, bound=29.0, interval=False)["meets"]
    assert compared(made, records, bound=29.0, interval=True)["meets"]  # 60 is above 59.6
