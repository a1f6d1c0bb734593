"""Scores of the generator as a classifier stand beside the logits, their control and their cost."""

from __future__ import annotations

from pathlib import Path

from diffuprompt.cli.summary import summary
from diffuprompt.record import Judging, Record, Variant
from diffuprompt.report.density import HEADING
from diffuprompt.report.load import Source
from diffuprompt.report.tables import plain
from diffuprompt.report.views import build_report

from . import factory


def judged(**how: object) -> Variant:
    made = Judging.model_validate(how)
    return Variant(prompts="generated", generator="diffusion", judged=made)


def record(seed: int) -> Record:
    """Own prompts and logits as elsewhere; a density, and the distance that belongs to it."""
    right = {judged(sigmas=(1.0,)): 6, judged(by="distance"): 2}
    scores = [
        factory.score(made, part, [i < k for i in range(8)]).model_copy(
            update={"timings": {"judge_ms": 2.5}}
        )
        for made, k in right.items()
        for part in ("base", "new")
    ]
    logits = [
        factory.score("diffusion", part, [i < 4 for i in range(8)]) for part in ("base", "new")
    ]
    regression = Variant.of_control("regression", "diffusion")
    control = [
        factory.score(regression, part, [i < 5 for i in range(8)]) for part in ("base", "new")
    ]
    made = factory.record(seed=seed, total=8)
    return made.model_copy(update={"scores": (*logits, *control, *scores)})


def test_density_stands_beside_logits_and_distance() -> None:
    sources = [Source(path=Path(f"{seed}.json"), record=record(seed)) for seed in (1, 2)]
    (view,) = build_report(sources).sections
    tables = {part.heading: part.table for part in view.parts}
    assert tables[HEADING].columns == ("Method", "Base", "New", "H", "Judging ms", "Seeds")
    assert [[plain(cell) for cell in row] for row in tables[HEADING].rows] == [
        ["CoCoOp + diffusion", *["50.00 ± 0.00"] * 3, "—", "2"],
        ["CoCoOp + diffusion, density,sigmas=1", *["75.00 ± 0.00"] * 3, "2.50", "2"],
        ["CoCoOp + diffusion, distance", *["25.00 ± 0.00"] * 3, "2.50", "2"],
    ]
    rows = tables[f"{HEADING}: paired differences"].rows
    assert [(row[0], row[1], plain(row[2])[:6]) for row in rows] == [
        ("CoCoOp + diffusion, density,sigmas=1", "CoCoOp + diffusion", "+25.00"),
        ("CoCoOp + diffusion, density,sigmas=1", "regression E[V*|pi]", "+12.50"),
        ("CoCoOp + diffusion, density,sigmas=1", "CoCoOp + diffusion, distance", "+50.00"),
        ("CoCoOp + diffusion, distance", "CoCoOp + diffusion", "−25.00"),
        ("CoCoOp + diffusion, distance", "regression E[V*|pi]", "−37.50"),
    ]
    assert "CoCoOp + diffusion, density,sigmas=1  75.00  75.00  75.00" in summary(sources)
