"""Each term of a loss against a slow, literal computation from its definition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.contract import direct
from tests.contract.towers import NAMES
from tests.learners import plain
from tests.learners.cases import build, world
from torch import Tensor

from diffuprompt.clip.model import Clip
from diffuprompt.clip.templates import PROMPTSRC_60
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.losses.projection import projected

CLOSE = {"rtol": 1e-6, "atol": 1e-9}  # text teachers are averaged in float32, as defined


def learned(learner: Learner, pixels: Tensor) -> tuple[Tensor, Tensor]:
    return plain.features(learner, dict(learner.named_parameters()), pixels, NAMES)


def encoded(clip: Clip, texts: list[str]) -> Tensor:
    return direct.text_features(clip, direct.sentence_rows(clip, texts), {})[0]


def teacher_text(clip: Clip) -> list[list[float]]:
    """The average of 60 un-normalised sentences per class, then normalised; in Python."""
    out = []
    for name in NAMES:
        rows = encoded(clip, [t.format(name.replace("_", " ")) for t in PROMPTSRC_60]).tolist()
        mean = [sum(column) / 60 for column in zip(*rows, strict=True)]
        out.append([x / norm(mean) for x in mean])
    return out


def norm(row: list[float]) -> float:
    return math.sqrt(sum(x * x for x in row))


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / norm(a) / norm(b)


def softmax(row: list[float]) -> list[float]:
    exps = [math.exp(x - max(row)) for x in row]
    return [x / sum(exps) for x in exps]


def cross_entropy(logits: list[list[float]], labels: list[int]) -> float:
    each = [-math.log(softmax(row)[y]) for row, y in zip(logits, labels, strict=True)]
    return sum(each) / len(each)


@pytest.mark.parametrize("case", ["promptsrc", "maple-promptsrc"])
def test_self_regulation(case: str) -> None:
    clip, images, classes = world()
    learner = build(case, clip)
    terms = {k: float(v.detach()) for k, v in learner.loss(images, classes).items()}
    image, text = (t.tolist() for t in learned(learner, images.pixels))
    frozen = [
        [x / math.sqrt(sum(y * y for y in row)) for x in row] for row in images.features.tolist()
    ]
    target, scale = teacher_text(clip), float(clip.scale)
    batch, count, width = len(image), len(text), len(text[0])

    l1_text = sum(abs(text[c][e] - target[c][e]) for c in range(count) for e in range(width))
    l1_image = sum(abs(image[b][e] - frozen[b][e]) for b in range(batch) for e in range(width))
    logits = [[scale * cosine(i, t) for t in text] for i in image]
    kl = 0.0
    for b in range(batch):
        p = softmax(logits[b])
        q = softmax([scale * cosine(frozen[b], t) for t in target])
        kl += sum(q[c] * (math.log(q[c]) - math.log(p[c])) for c in range(count))
    expected = {
        "ce": cross_entropy(logits, images.labels.tolist()),
        "text_l1": 25 * l1_text / (count * width),
        "image_l1": 10 * l1_image / (batch * width),
        "kl": kl / (batch * count),
    }
    expected["loss"] = sum(expected.values())
    assert terms == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", ["coprompt", "coprompt-mse"])
def test_consistency_with_sentences_and_another_view(case: str) -> None:
    clip, images, _ = world()
    sentences = [[f"{name} number {s}" for s in range(3)] for name in NAMES]
    classes = Classes(NAMES, sentences)
    learner = build(case, clip)
    weight = learner.config()["consistency"]
    image, text = (t.tolist() for t in learned(learner, images.pixels))
    other = [[x / norm(row) for x in row] for row in images.second.tolist()]

    def far(a: list[list[float]], b: list[list[float]]) -> float:
        if case == "coprompt":
            return 1 - sum(cosine(x, y) for x, y in zip(a, b, strict=True)) / len(a)
        flat = [(p - q) ** 2 for x, y in zip(a, b, strict=True) for p, q in zip(x, y, strict=True)]
        return sum(flat) / len(flat)

    choices = []
    for s in range(3):
        rows = direct.unit(encoded(clip, [texts[s] for texts in sentences]))
        choices.append(weight * far(text, rows.tolist()))
    drawn = set()
    for step in range(12):
        terms = learner.loss(images, classes, torch_stream(0, step))
        terms = {name: term.detach() for name, term in terms.items()}
        value = float(terms["text_consistency"])
        nearest = min(range(3), key=lambda s: abs(choices[s] - value))
        assert value == pytest.approx(choices[nearest], rel=1e-5)
        drawn.add(nearest)
        assert float(terms["image_consistency"]) == pytest.approx(
            weight * far(image, other), rel=1e-6
        )
        assert float(terms["loss"]) == pytest.approx(
            float(terms["ce"]) + value + float(terms["image_consistency"]), rel=1e-9
        )
    assert drawn == {0, 1, 2}  # one in 400 million seeds would miss one


def test_templates_stand_in_where_there_are_no_sentences() -> None:
    clip, images, classes = world()
    learner = build("coprompt", clip)
    (term,) = learner._terms
    assert term.teacher.text(classes).shape[:2] == (60, len(NAMES))
    first = direct.unit(encoded(clip, [f"a photo of a {n.replace('_', ' ')}." for n in NAMES]))
    torch.testing.assert_close(term.teacher.text(classes)[0].double(), first, **CLOSE)
    assert torch.isfinite(learner.loss(images, classes)["loss"])


def grads(loss: Tensor, learner: Learner) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(learner.parameters()), retain_graph=True))


@pytest.mark.parametrize("flip", [False, True])
def test_projection_of_gradients(flip: bool) -> None:
    """ProGrad: the value is the cross-entropy's, the gradient the projected one."""
    clip, images, classes = world()
    learner = build("prograd", clip)
    image, text = learned(learner, images.pixels)
    logits = clip.scale * image @ text.T
    ce = torch.nn.functional.cross_entropy(logits, images.labels)
    teacher = plain.zero_shot(clip, images.pixels, NAMES).softmax(1)
    general = sum(
        -teacher[b, c] * logits.log_softmax(1)[b, c] / len(teacher)
        for b in range(len(teacher))
        for c in range(len(NAMES))
    )
    if flip:  # whichever way they point, the other branch is tested too
        general = -general
    before = grads(ce, learner), grads(general, learner)
    if flip:
        total = projected(ce, general, learner.parameters(), 0.8)
        share = 0.8
    else:
        terms = learner.loss(images, classes)
        total, share = terms["loss"], 1.0
        assert float(terms["general"].detach()) == pytest.approx(float(general.detach()), rel=1e-6)
    assert float(total.detach()) == pytest.approx(float(ce.detach()), rel=1e-9)
    for d, g, found in zip(*before, grads(total, learner), strict=True):
        dot = float((d * g).sum())
        expected = d - share * dot / float((g * g).sum()) * g if dot < 0 else d
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
        if share == 1 and dot < 0:
            assert abs(float((found * g).sum())) < 1e-6 * float((g * g).sum())


def test_one_of_the_two_cases_of_the_projection_is_a_conflict() -> None:
    d, g = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    p = torch.nn.Parameter(torch.zeros(2))
    agree = projected((p * d).sum(), (p * -g).sum(), [p], 1.0)
    against = projected((p * d).sum(), (p * g).sum(), [p], 1.0)
    assert torch.autograd.grad(agree, p)[0].tolist() == [1.0, 0.0]
    assert torch.autograd.grad(against, p)[0].tolist() == [0.5, 0.5]


def test_teachers_are_frozen_and_remembered_per_class_list() -> None:
    clip, images, classes = world()
    learner = build("promptsrc", clip)
    (term,) = learner._terms
    kept = term.teacher.text(classes)
    assert kept is term.teacher.text(classes)
    assert not kept.requires_grad
    other = Classes(NAMES[:2])
    assert term.teacher.text(other).shape[0] == 2
    batch = replace(images, labels=images.labels % 2)
    assert torch.isfinite(learner.loss(batch, other)["loss"])
