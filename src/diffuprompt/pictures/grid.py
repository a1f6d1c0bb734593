"""Figure 6 of arXiv 2410.20164: what hand-written, learned and generated prompts make one draw.

The paper gives a caption and one paragraph: three Monte Carlo prompts of an image, a ControlNet.
Rows are prompts, columns a true and a wrong class; all cells have one edge map and one noise, so
only the prompt varies. Numbers beside the grid keep it honest: that a picture looks right says
little where the hand-written prompt's, or another noise, looks as right.

Legend: E embedding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from diffuprompt.clip import SINGLE, normalize
from diffuprompt.data import ImageBatch
from diffuprompt.engine import NULL, Progress
from diffuprompt.hub import Artifact
from diffuprompt.learners import Classes, Learner
from diffuprompt.pictures.edges import edge_map
from diffuprompt.pictures.painter import Painter
from diffuprompt.pictures.text_states import (
    check_drawable,
    prompt_states,
    same_states,
    sentence_states,
    template_states,
)
from diffuprompt.prompts import Prompts

SAMPLES = 3
EQUAL = 1e-5  # relative difference of states that are equal but for rounding in float32
HAND, LEARNED = "hand-written", "learned"
GAP, LINE, SIZE, TILE = 8, 15, 12, 224  # pixels
INK, PAPER = "#1f2328", "#ffffff"


@dataclass(frozen=True, kw_only=True)
class RowFigures:
    """How near a row's picture of the true class is, by the artifact's own CLIP (cosines).

    Attributes:
        to_image, to_class: to the test picture, and to "a photo of a NAME.".
        image_gain, class_gain: the same, less the hand-written prompt's.
    """

    to_image: float
    to_class: float
    image_gain: float
    class_gain: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptGrid:
    """The grid and its numbers.

    Attributes:
        sheet: the grid, drawn.
        cells: row -> pictures of the true and of the wrong class.
        figures: row -> numbers.
        sample_distance: 1 - cosine of two samples' pictures, mean over pairs; None without samples.
        seed_distance: the same of the learned prompt's pictures from as many noises; of the
            hand-written one's, where none is learned.
        fidelity: of `Painter`, and ``error`` of its map.
    """

    sheet: Image.Image
    cells: dict[str, tuple[Image.Image, Image.Image]]
    figures: dict[str, RowFigures]
    sample_distance: float | None
    seed_distance: float | None
    fidelity: str
    error: float

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "rows": {name: asdict(row) for name, row in self.figures.items()},
            "sample_distance": self.sample_distance,
            "seed_distance": self.seed_distance,
            "fidelity": self.fidelity,
            "map_error": self.error,
        }


@torch.inference_mode()
def draw_grid(
    artifact: Artifact,
    painter: Painter,
    picture: Image.Image,
    *,
    true: str,
    wrong: str,
    classes: Sequence[str] | None = None,
    progress: Progress = NULL,
) -> PromptGrid:
    """Draw the grid of one picture; equal arguments give equal grids.

    Args:
        artifact: a learner, whose text side is drawn, and a generator where there is one.
        painter: of the artifact's CLIP.
        picture: RGB; its edges and, for image-conditioned prompts, its features.
        true: the class of the left column, and of the numbers.
        wrong: the class of the right one.
        classes: that the prompts are for; None: those of training.
        progress: counts pictures.

    Raises:
        ConfigError: the learner has prompts in the image tower alone.
    """
    learner, clip = artifact.learner, artifact.clip
    check_drawable(learner)
    chosen = Classes(artifact.description.classes if classes is None else classes)
    labels = [chosen.names.index(true), chosen.names.index(wrong)]
    feature_1E = _features(artifact, [picture])
    rows = {HAND: sentence_states(clip, [_sentence(name) for name in (true, wrong)])}
    own = learner.prompts(feature_1E)
    states = prompt_states(learner, chosen, labels, own)
    if _learned(learner, chosen, labels, states, rows[HAND]):
        rows[LEARNED] = states
    base = LEARNED if LEARNED in rows else HAND
    samples = _samples(artifact, feature_1E, own)
    for number, prompts in enumerate(samples, 1):
        rows[f"sample {number}"] = prompt_states(learner, chosen, labels, prompts)
    edges, seed = edge_map(picture, painter.config.side), painter.config.seed
    total = 2 * len(rows) + max(len(samples) - 1, 0)
    with progress.task("drawing prompts", total=total) as task:
        cells = {}
        for name, states in rows.items():
            pair = []
            for each in states:
                pair.append(painter.draw(each, edges))
                task.advance()
            cells[name] = (pair[0], pair[1])
        of_seeds = [cells[base][0]] if samples else []
        for number in range(1, len(samples)):
            of_seeds.append(painter.draw(rows[base][0], edges, seed=seed + number))
            task.advance()
    sentence = classes_text(artifact, true)
    figures = _figures(artifact, feature_1E, sentence, {k: pair[0] for k, pair in cells.items()})
    of_samples = [pair[0] for name, pair in cells.items() if name.startswith("sample ")]
    return PromptGrid(
        sheet=_sheet(cells, (true, wrong), picture, edges, painter.fidelity),
        cells=cells,
        figures=figures,
        sample_distance=_distance(artifact, of_samples),
        seed_distance=_distance(artifact, of_seeds),
        fidelity=painter.fidelity,
        error=painter.error,
    )


def classes_text(artifact: Artifact, name: str) -> Tensor:
    """Return the text feature ``(1, E)`` of a class by the hand-written prompt."""
    clip = artifact.clip
    return clip.text(Classes([name]).sentences(clip, SINGLE))[0]


def _learned(
    learner: Learner, classes: Classes, labels: Sequence[int], states: Tensor, hand: Tensor
) -> bool:
    """Whether a learner's own states are another thing than hand-written sentences.

    Without prompts these are of its own template, which may be another one, in the frozen tower.
    """
    plain = hand if learner.spec.slots else template_states(learner, classes, labels)
    return not same_states(states, plain, EQUAL)


def _samples(artifact: Artifact, feature_1E: Tensor, own: Prompts) -> list[Prompts]:
    """Return the generator's draws for one picture; one where it draws no noise, none without."""
    learner, generator = artifact.learner, artifact.generator
    if generator is None:
        return []
    flat_1F = learner.spec.pack(own)
    draws = range(SAMPLES if generator.num_noise else 1)
    made = (generator.sample(feature_1E, flat_1F, draw=draw) for draw in draws)
    return [learner.spec.unpack(flat) for flat in made]


def _sentence(name: str) -> str:
    return SINGLE.replace("{}", name.replace("_", " "))


def _features(artifact: Artifact, pictures: Sequence[Image.Image]) -> Tensor:
    clip = artifact.clip
    pixels = torch.stack([clip.preprocess.test_view(p.convert("RGB")) for p in pictures])
    index = torch.arange(len(pictures), device=clip.device)
    return artifact.learner.features(ImageBatch(pixels.to(clip.device), None, index))


def _figures(
    artifact: Artifact, image_1E: Tensor, text_1E: Tensor, pictures: dict[str, Image.Image]
) -> dict[str, RowFigures]:
    found_NE = normalize(_features(artifact, list(pictures.values())))
    to_image = (found_NE @ normalize(image_1E)[0]).tolist()
    to_class = (found_NE @ normalize(text_1E)[0]).tolist()
    return {
        name: RowFigures(
            to_image=i, to_class=c, image_gain=i - to_image[0], class_gain=c - to_class[0]
        )
        for name, i, c in zip(pictures, to_image, to_class, strict=True)
    }


def _distance(artifact: Artifact, pictures: Sequence[Image.Image]) -> float | None:
    if len(pictures) < 2:
        return None
    found_NE = normalize(_features(artifact, pictures))
    pairs = list(itertools.combinations(range(len(pictures)), 2))
    return sum(1 - float(found_NE[a] @ found_NE[b]) for a, b in pairs) / len(pairs)


def _sheet(
    cells: dict[str, tuple[Image.Image, Image.Image]],
    names: tuple[str, str],
    picture: Image.Image,
    edges: Image.Image,
    fidelity: str,
) -> Image.Image:
    font, rows = ImageFont.load_default(SIZE), 1 + len(cells)
    page = Image.new("RGB", (3 * GAP + 2 * TILE, GAP + rows * (TILE + 2 * LINE)), PAPER)
    pen = ImageDraw.Draw(page)
    tiles = [[("the picture", picture), (f"its edges; prompts: {fidelity}", edges)]]
    for row, pair in cells.items():
        tiles.append([(f"{row}: {name}", cell) for name, cell in zip(names, pair, strict=True)])
    for y, line in enumerate(tiles):
        for x, (label, image) in enumerate(line):
            left, top = GAP + x * (TILE + GAP), GAP + y * (TILE + 2 * LINE)
            square = ImageOps.fit(image.convert("RGB"), (TILE, TILE))  # as the edges are cut out
            page.paste(square, (left, top + LINE))
            pen.text((left, top), label, INK, font)
    return page
