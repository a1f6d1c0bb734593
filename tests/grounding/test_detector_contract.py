"""What every detector promises, whatever is inside: see `contract.Detector`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache

import pytest
import torch
from tests.grounding.tiny_detectors import MAKERS, made
from torch import Tensor, nn

from diffuprompt.errors import DataError
from diffuprompt.grounding.contract import Adaptation, Answer, Detector, Tokens, VisualPrompt
from diffuprompt.grounding.detectors.anchors import assign
from diffuprompt.grounding.detectors.boxes import counted
from diffuprompt.grounding.detectors.glip_detector import GlipDetector

SIDE = 64
CAPTIONS = ("the red cup left of the lamp", "a ring")
ROOTS = ((0, 11), (2, 6))
BOXES = torch.tensor([[8.0, 6, 40, 44], [30, 20, 60, 62]])

detectors = pytest.mark.parametrize("name", MAKERS)
cached = cache(made)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(batch: int = 2) -> Tensor:
    return drawn(batch, 3, SIDE, SIDE, seed=5).sigmoid()


def prompts(detector: Detector, batch: int, length: int = 2, seed: int = 9) -> Adaptation:
    grids = detector.grids(SIDE, SIDE)
    return Adaptation(
        visual=[
            VisualPrompt(
                tokens=drawn(batch, length, width, seed=seed + i),
                grid=drawn(batch, *grid, width, seed=seed + 20 + i) if i % 2 else None,
            )
            for i, (width, grid) in enumerate(zip(detector.sites.visual, grids, strict=True))
        ],
        textual=[
            drawn(batch, length, width, seed=seed + 40 + i)
            for i, width in enumerate(detector.sites.textual)
        ],
    )


def of_row(adaptation: Adaptation, row: int) -> Adaptation:
    own = slice(row, row + 1)
    return Adaptation(
        visual=[
            VisualPrompt(tokens=p.tokens[own], grid=None if p.grid is None else p.grid[own])
            for p in adaptation.visual
        ],
        textual=[t[own] for t in adaptation.textual],
    )


def tensors(answer: Answer) -> dict[str, Tensor]:
    """Return all of an answer that belongs to single pictures."""
    values = {f.name: getattr(answer, f.name) for f in fields(answer)}
    return {name: v for name, v in values.items() if isinstance(v, Tensor)}


def equal(a: Answer, b: Answer) -> bool:
    other = tensors(b)
    return all(torch.equal(value, other[name]) for name, value in tensors(a).items())


@detectors
def test_a_detector_is_frozen(name: str) -> None:
    detector = cached(name)
    assert not detector.module.training
    assert not [n for n, p in detector.module.named_parameters() if p.requires_grad]
    answer = detector.run(pictures(), detector.tokens(CAPTIONS))
    assert not answer.words.requires_grad


@detectors
def test_prompts_of_no_length_are_no_prompts_bit_for_bit(name: str) -> None:
    detector, tokens = cached(name), cached(name).tokens(CAPTIONS)
    none = prompts(detector, 2, length=0)
    none = Adaptation(
        visual=[VisualPrompt(tokens=p.tokens) for p in none.visual], textual=none.textual
    )
    plain = detector.run(pictures(), tokens)
    assert equal(plain, detector.run(pictures(), tokens, none))
    assert equal(plain, detector.run(pictures(), tokens, Adaptation()))
    assert equal(plain, detector.run(pictures(), tokens, Adaptation(visual=[None] * 3)))


@detectors
def test_a_batch_of_two_is_two_batches_of_one(name: str) -> None:
    detector = cached(name)
    given = prompts(detector, 2)
    tokens = detector.tokens(CAPTIONS)
    with torch.no_grad():
        together = tensors(detector.run(pictures(), tokens, given))
        for i in range(2):
            alone = detector.tokens(CAPTIONS[i : i + 1])
            length = alone.ids.shape[1]
            single = detector.run(pictures()[i : i + 1], alone, of_row(given, i))
            for part, value in tensors(single).items():
                whole = together[part][i : i + 1]
                if part in ("words", "first_words"):
                    whole = whole[..., :length]
                if part == "language":
                    whole = whole[:, :length]
                assert torch.allclose(whole, value, atol=2e-4, rtol=1e-4), part
    other = detector.run(pictures(), tokens, prompts(detector, 2, seed=900))
    assert not torch.allclose(together["words"], other.words, atol=1e-3)


@detectors
def test_weights_equal_to_its_own_change_nothing(name: str) -> None:
    detector, tokens = cached(name), cached(name).tokens(CAPTIONS)
    own = dict(detector.module.named_parameters())
    assert own
    plain = detector.run(pictures(), tokens)
    assert equal(plain, detector.run(pictures(), tokens, Adaptation(weights=own)))


class Learned(nn.Module):
    """Each field of an adaptation, made of one number at zero that has to have an effect."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = [detector]
        self.number = nn.Parameter(torch.zeros(()))

    def adaptation(self, field: str) -> Adaptation:
        (detector,), by = self.detector, self.number
        sites = detector.sites
        weight = next(n for n, p in detector.module.named_parameters() if p.ndim == 4)

        def add(x: Tensor) -> Tensor:
            return x + by * drawn(*x.shape[1:])

        values = {
            "visual tokens": lambda: {
                "visual": [VisualPrompt(tokens=by * drawn(2, 2, width)) for width in sites.visual]
            },
            "visual grids": lambda: {
                "visual": [
                    VisualPrompt(grid=by * drawn(2, *grid, width))
                    for width, grid in zip(sites.visual, detector.grids(SIDE, SIDE), strict=True)
                ]
            },
            "textual": lambda: {"textual": [by * drawn(2, 2, width) for width in sites.textual]},
            "weights": lambda: {
                "weights": {weight: detector.module.get_parameter(weight) * (1 + by)}
            },
            "visual_layers": lambda: {"visual_layers": [add for _ in sites.visual]},
            "textual_layers": lambda: {"textual_layers": [None, add]},
            "levels": lambda: {"levels": lambda maps: [add(x) for x in maps]},
            "language": lambda: {"language": add},
            "words": lambda: {"words": lambda answer: answer.words * (1 + by)},
        }
        return Adaptation(**values[field]())


ALL = (
    "visual tokens", "visual grids", "textual", "weights", "levels", "language", "words",
    "visual_layers", "textual_layers",
)  # fmt: skip


@pytest.mark.parametrize(("name", "field"), [(n, f) for n in MAKERS for f in ALL])
def test_every_field_has_an_effect_and_a_gradient(name: str, field: str) -> None:
    detector = cached(name)
    tokens = detector.tokens(CAPTIONS)
    learned = Learned(detector)
    before = {n: p.clone() for n, p in detector.module.named_parameters()}
    answer = detector.run(pictures(), tokens, learned.adaptation(field))
    loss = detector.loss(answer, tokens, ROOTS, BOXES)["loss"]
    (slope,) = torch.autograd.grad(loss, [learned.number])
    assert slope != 0
    with torch.no_grad():
        learned.number += 1
    moved = detector.run(pictures(), tokens, learned.adaptation(field))
    assert not torch.allclose(answer.words, moved.words, atol=1e-4)
    for n, parameter in detector.module.named_parameters():
        assert torch.equal(parameter, before[n])
        assert parameter.grad is None


@detectors
def test_losses_of_a_batch_are_means_of_single_ones(name: str) -> None:
    detector = cached(name)
    captions, rows = [*CAPTIONS, "the big green ring"], [0, 1, 0]
    roots = [*ROOTS, (14, 18)]
    pixels, boxes = pictures()[rows], BOXES[[0, 1, 1]]

    def terms(chosen: Sequence[int]) -> tuple[dict[str, Tensor], Tokens]:
        tokens = detector.tokens([captions[i] for i in chosen])
        answer = detector.run(pixels[list(chosen)], tokens)
        found = detector.loss(
            answer, tokens, [roots[i] for i in chosen], boxes[torch.tensor(chosen)]
        )
        return found, tokens

    whole, _ = terms([0, 1, 2])
    parts = [terms([i])[0] for i in range(3)]
    weights = torch.full((3,), 1 / 3)  # each image has one matched query
    keys = set(whole)
    if name != "mm":  # means over the anchors that stand for a box; boxes weigh by centerness
        assert isinstance(detector, GlipDetector)
        anchors, plus = (
            detector.run(pixels, detector.tokens(captions)).anchors,
            detector.model.config.plus,
        )
        positive = (assign(anchors, list(counted(boxes, plus)[:, None]), plus=plus) >= 0).sum(1)
        assert len(set(positive.tolist())) > 1
        weights, keys = positive / positive.sum(), {"words", "centre"}
    for key in keys:
        expected = sum(float(w) * p[key].item() for w, p in zip(weights, parts, strict=True))
        assert whole[key].item() == pytest.approx(expected, rel=1e-4)


@detectors
def test_boxes_are_ranked_and_inside_the_picture(name: str) -> None:
    detector = cached(name)
    tokens = detector.tokens(CAPTIONS)
    found = detector.detect(detector.run(pictures(), tokens), tokens, ROOTS, (SIDE, SIDE))
    assert len(found) == 2
    for one in found:
        assert 1 <= len(one.boxes) == len(one.scores) <= 100
        assert (one.scores.diff() <= 0).all()
        assert (one.scores >= 0).all()
        assert (one.scores <= 1).all()
        assert (one.boxes >= 0).all()
        assert (one.boxes <= SIDE).all()
        assert (one.boxes[:, 2:] >= one.boxes[:, :2]).all()


@detectors
def test_a_root_phrase_without_words_is_refused(name: str) -> None:
    detector = cached(name)
    tokens = detector.tokens(CAPTIONS)
    answer = detector.run(pictures(), tokens)
    with pytest.raises(DataError, match="caption 0"):
        detector.detect(answer, tokens, [(90, 95), ROOTS[1]], (SIDE, SIDE))


@detectors
@pytest.mark.parametrize("size", [(64, 64), (72, 56)])
def test_the_context_is_what_the_sites_say(name: str, size: tuple[int, int]) -> None:
    detector = cached(name)
    tokens = detector.tokens(CAPTIONS)
    pixels = drawn(2, 3, *size).sigmoid()
    seen = detector.context(pixels, tokens)
    assert tuple(level.shape[1] for level in seen.levels) == detector.sites.levels
    assert seen.language.shape == (2, tokens.ids.shape[1], detector.sites.language)
    for level, words in zip(seen.levels, seen.alignment, strict=True):
        assert words.shape == (2, *level.shape[2:], tokens.ids.shape[1])
        assert torch.isfinite(words).all()
    assert not seen.language.requires_grad


@detectors
def test_the_grids_are_those_of_the_blocks(name: str) -> None:
    detector = cached(name)
    size = (72, 56)
    grids = detector.grids(*size)
    given = Adaptation(
        visual=[
            VisualPrompt(grid=drawn(2, *grid, width))
            for width, grid in zip(detector.sites.visual, grids, strict=True)
        ]
    )
    detector.run(drawn(2, 3, *size).sigmoid(), detector.tokens(CAPTIONS), given)
    assert grids[0] == (18, 14)
    assert len(grids) == len(detector.sites.visual)


@detectors
def test_the_loss_falls_when_prompts_are_trained(name: str) -> None:
    detector = cached(name)
    tokens = detector.tokens(CAPTIONS)
    first = prompts(detector, 2)
    visual = [nn.Parameter(p.tokens.clone()) for p in first.visual]
    textual = [nn.Parameter(t.clone()) for t in first.textual]
    optimiser = torch.optim.Adam([*visual, *textual], 0.1)
    losses = []
    for _ in range(6):
        given = Adaptation(visual=[VisualPrompt(tokens=p) for p in visual], textual=textual)
        answer = detector.run(pictures(), tokens, given)
        loss = detector.loss(answer, tokens, ROOTS, BOXES)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
