"""The demo of grounding: a trained grounder against its frozen detector on a few scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffuprompt.engine import NULL, Progress, write_bytes
from diffuprompt.grounding import (
    Grounder,
    MadeExpressions,
    draw_strips,
    first_hit,
    make_expressions,
    png_bytes,
)
from diffuprompt.record_expressions import recalls
from diffuprompt.studies.grounding.choosing import choose
from diffuprompt.studies.grounding.design import FROZEN, OURS
from diffuprompt.studies.grounding.examples import LEGEND, strips_of

EXPRESSIONS, BATCH, SAMPLES = 200, 25, 8
SIDE = 128  # pixels of a tile


@dataclass(frozen=True, kw_only=True)
class GroundingDemo:
    """What the demo found.

    Attributes:
        expressions: how many were tried.
        found: recalls in per cent by the name of the method.
        picture: file of the drawing.
        scene: file of one of its pictures.
        text: an expression about that picture.
    """

    expressions: int
    found: dict[str, dict[str, float]]
    picture: Path
    scene: Path
    text: str


def run_grounding_demo(
    grounder: Grounder, out: Path, *, count: int = EXPRESSIONS, progress: Progress = NULL
) -> GroundingDemo:
    """Score test expressions of scenes with and without what was trained, and draw six of them.

    Of every kind of expression one is drawn that Diff-Prompt finds, and one that it misses.
    """
    scenes = make_expressions("scenes", "test", seed=0, count=count)
    ranks = {
        name: _ranks(one, scenes, name, progress)
        for name, one in ((FROZEN, grounder.frozen), (OURS, grounder))
    }
    kinds = [scenes[row].kind for row in range(count)]
    chosen = choose(kinds, ranks[OURS], each=1)
    strips = strips_of(grounder, scenes, chosen, scope=scenes.content, samples=SAMPLES)
    picture = out / "grounding.png"
    write_bytes(picture, png_bytes(draw_strips(strips, side=SIDE, head=LEGEND)))
    found = {name: recalls(every) for name, every in ranks.items()}
    scene, shown = out / "scene.png", strips[0].picture
    write_bytes(scene, png_bytes(shown))
    text = scenes[chosen[0].row].text
    return GroundingDemo(expressions=count, found=found, picture=picture, scene=scene, text=text)


def _ranks(grounder: Grounder, scenes: MadeExpressions, name: str, progress: Progress) -> list[int]:
    found: list[int] = []
    with progress.task(f"{name} on scenes", total=len(scenes)) as task:
        for start in range(0, len(scenes), BATCH):
            rows = range(start, min(start + BATCH, len(scenes)))
            batch = scenes.batch(rows, grounder.side)
            every = grounder.on(batch, rows, scope=scenes.content)
            found += [first_hit(o.boxes, t) for o, t in zip(every, batch.boxes, strict=True)]
            task.advance(len(rows))
    return found
