"""A linear probe, LP++ and GDA against their formulas, written out in loops in float64."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.contract import direct
from tests.contract.towers import NAMES
from tests.learners.cases import Images, world
from torch import Tensor
from torch.nn import functional

from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.gaussians import ALPHAS, UNCHOSEN, chosen_alpha, folds_of, gaussians
from diffuprompt.learners.methods.gda import GdaOptions
from diffuprompt.learners.registry import build_learner

TRAINED, NEW = NAMES[:4], NAMES[4:]
ROWS = ("linear-probe", "lp++", "gda")


def fitted(name: str, options: dict | None = None) -> Learner:
    clip, _, _ = world()
    learner = build_learner(name, clip, options or {})
    learner.start(Images(clip))
    learner.double().fit(Images(clip))
    return learner.requires_grad_(False)


def shots(learner: Learner, views: int) -> tuple[Tensor, list[int]]:
    """Unit features of all views, one view after the other, and their labels."""
    images = Images(learner.clip)
    features = [direct.unit(images.view(v)) for v in range(views)]
    return torch.cat(features), images.labels.tolist() * views


@pytest.mark.parametrize("name", ROWS)
def test_new_classes_alone_say_so_or_keep_their_zero_shot_logits(name: str) -> None:
    learner, (clip, images, _) = fitted(name), world()
    zero = build_learner("zero-shot", clip, {}).logits(images, Classes(NEW))
    new = learner.logits(images, Classes(NEW))
    if name == "gda":  # which gives them means of their own
        assert float((new - zero).abs().max()) > 1e-3
        return
    torch.testing.assert_close(new, zero, rtol=0, atol=1e-12)
    mixed = learner.logits(images, Classes((NEW[1], *TRAINED)))
    torch.testing.assert_close(mixed[:, 0], zero[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_they_cannot_answer_before_they_are_started(name: str) -> None:
    clip, images, classes = world()
    with pytest.raises(ConfigError, match="knows no class yet"):
        build_learner(name, clip, {}).logits(images, classes)


def test_a_probe_starts_as_zero_shot_and_names_decide_not_places() -> None:
    learner, (clip, images, classes) = fitted("linear-probe"), world()
    zero = build_learner("zero-shot", clip, {}).logits(images, classes)
    # its rows were stored as float32: 1e-7 of logits up to 10
    torch.testing.assert_close(learner.logits(images, classes), zero, rtol=0, atol=1e-5)
    learner.bias[2] += 7
    moved = learner.logits(images, Classes((TRAINED[2], NEW[0])))
    torch.testing.assert_close(moved[:, 0], zero[:, 2] + 7, rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[:, 1], zero[:, 4], rtol=0, atol=1e-12)


def lp_loss(features: Tensor, labels: list[int], text: Tensor, w: Tensor, b: Tensor, a: Tensor):
    total = features.new_zeros(())
    for f, label in zip(features, labels, strict=True):
        logits = torch.stack([f @ (w[k] + a[k] * text[k]) + b[k] for k in range(len(text))])
        total = total - logits.log_softmax(0)[label]
    return total / len(labels)


def lp_reference(learner: Learner, steps: int) -> tuple[list[Tensor], list[float]]:
    """LP++ by autograd on the loss as it is defined; the values and the losses on the way."""
    features, labels = shots(learner, 2)
    text = direct.unit(learner.static_text(Classes(TRAINED))[0])
    members = [[f for f, y in zip(features, labels, strict=True) if y == k] for k in range(4)]
    w = torch.stack([torch.stack(rows).mean(0) for rows in members])
    cosines = torch.stack([f @ text[y] for f, y in zip(features, labels, strict=True)])
    b, a = torch.zeros(4).double(), torch.full((4,), 20.0 * float(cosines.mean())).double()
    whole = torch.cat([features, torch.ones(len(features), 1).double()], 1)
    bound = torch.linalg.matrix_norm(whole, 2) ** 2 / len(whole) / 2
    losses = []
    for _ in range(steps):
        for block in ("rows", "multipliers"):
            w, b, a = (t.detach().requires_grad_() for t in (w, b, a))
            loss = lp_loss(features, labels, text, w, b, a)
            losses.append(float(loss.detach()))
            gw, gb, ga = torch.autograd.grad(loss, (w, b, a))
            if block == "rows":
                w, b = w - gw / bound, b - gb / bound
            else:
                a = a - ga / ((features @ text.T).square().mean(0) / 2)
    return [w.detach(), b.detach(), a.detach()], losses


def test_lp_plus_plus_descends_as_the_loss_says_and_never_climbs() -> None:
    steps = 4
    learner = fitted("lp++", {"alpha": 20.0, "steps": steps, "views": 2})
    (w, b, a), losses = lp_reference(learner, steps)
    for ours, theirs in ((learner.weight, w), (learner.bias, b), (learner.alpha, a)):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)  # float64, eight steps
    assert all(later <= before for before, later in pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


def gda_reference(features: Tensor, labels: list[int], kind: str) -> tuple[Tensor, Tensor]:
    """Means and precision, image by image."""
    groups = [[f for f, y in zip(features, labels, strict=True) if y == k] for k in range(4)]
    means = torch.stack([torch.stack(group).mean(0) for group in groups])
    width = features.shape[1]
    scatters, covariances = torch.zeros(width, width).double(), []
    for group, mean in zip(groups, means, strict=True):
        own = sum(torch.outer(f - mean, f - mean) for f in group)
        scatters = scatters + own
        covariances.append(own / (len(group) - 1))
    pooled = scatters / (len(features) - 1)
    cov = pooled if kind == "pooled" else torch.stack(covariances).mean(0)
    ridged = (len(features) - 1) * cov + cov.trace() * torch.eye(width).double()
    return means, width * torch.linalg.inv(ridged)


@pytest.mark.parametrize("kind", ["pooled", "per-class"])
def test_gda_is_its_closed_form(kind: str) -> None:
    learner = fitted("gda", {"covariance": kind, "views": 2, "alpha": 0.25})
    features, labels = shots(learner, 2)
    means, precision = gda_reference(features, labels, kind)
    for ours, theirs in (
        (learner.precision, precision),
        (learner.weight, means @ precision),
        (learner.bias, torch.stack([-(m @ precision @ m) / 2 for m in means])),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))
    assert float(learner.alpha) == 0.25


def test_gaussians_of_two_far_classes_say_the_nearer_mean() -> None:
    """Equal covariances: the border is where both means are equally far in the precision."""
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 3, generator=stream).double() * torch.tensor([1.0, 0.2, 0.2])
    label = torch.arange(400) % 2
    found = gaussians(
        noise + 2 * label[:, None] * torch.tensor([0.0, 1.0, 0.0]), label, 2, "pooled"
    )
    weight, bias = found.rows
    middle = found.mean_KE.mean(0)
    torch.testing.assert_close(weight[0] @ middle + bias[0], weight[1] @ middle + bias[1])
    assert (weight[1] - weight[0])[1] > 5 * (weight[1] - weight[0])[0].abs()


def test_alpha_is_the_smallest_that_answers_best_on_pictures_left_out() -> None:
    stream = torch.Generator().manual_seed(1)
    label = torch.arange(16) % 2
    means = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).double()
    feature = functional.normalize(
        means[label] + 0.1 * torch.randn(16, 3, generator=stream).double(), dim=1
    )
    wrong = torch.stack([label == 1, label == 0], 1).double()  # zero-shot is always wrong by 1
    fold = folds_of(label)
    assert fold.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    found = chosen_alpha(feature, label, wrong, fold, "pooled")
    assert ALPHAS[0] < found <= ALPHAS[-1]
    right = 1 - wrong
    assert chosen_alpha(feature, label, right, fold, "pooled") == ALPHAS[0]
    alone = folds_of(torch.arange(3))
    assert alone.tolist() == [-1, -1, -1]
    assert chosen_alpha(feature[:2], label[:2], wrong[:2], alone[:2], "pooled") == UNCHOSEN
    two = torch.tensor([0, 0, 1, 1])  # of which one is left, and its covariance is nought
    assert chosen_alpha(feature[:4], two, wrong[:4], folds_of(two), "pooled") == UNCHOSEN


def test_views_of_a_picture_are_left_out_together_and_alpha_is_chosen_from_the_list() -> None:
    learner = fitted("gda", {"views": 2})
    assert any(float(learner.alpha) == pytest.approx(alpha) for alpha in ALPHAS)
    assert learner.config()["size"] == 20
    assert learner.config()["alpha"] is None  # what was asked for; the value found is a tensor


def test_options_of_gda_without_any_mean_for_new_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"learner\.copies: expected at least 1"):
        GdaOptions(neighbours=0, copies=0)
    only_text = fitted("gda", {"neighbours": 0, "copies": 1, "alpha": 1.0})
    (clip, images, _), classes = world(), Classes(NEW)
    text = direct.unit(only_text.static_text(classes)[0])
    want = build_learner("zero-shot", clip, {}).logits(images, classes)
    precision, features = only_text.precision, direct.unit(images.features)
    extra = features @ precision @ text.T - ((text @ precision) * text).sum(1) / 2
    torch.testing.assert_close(only_text.logits(images, classes), want + extra)


def test_prolip_moves_the_projection_and_nothing_else() -> None:
    clip, images, classes = world("stem-vit")
    learner = build_learner("prolip", clip, {})
    with pytest.raises(ConfigError, match=r"learner\.pull is 1 / shots"):
        learner.loss(images, classes)
    learner.start(Images(clip))
    assert learner.config()["shots"] == 2.5
    zero = build_learner("zero-shot", clip, {})
    learner.double()  # the tower's weights are float32 numbers: the copy was exact
    torch.testing.assert_close(learner.logits(images, classes), zero.logits(images, classes))
    assert float(learner.loss(images, classes)["pull"].detach()) == 0
    with torch.no_grad():
        learner.projection[3, 5] += 0.5
    terms = learner.loss(images, classes)
    assert float(terms["pull"].detach()) == pytest.approx(0.25 / 2.5)
    assert float(terms["loss"].detach()) == pytest.approx(
        float((terms["ce"] + terms["pull"]).detach())
    )
    (grad,) = torch.autograd.grad(terms["pull"], learner.projection)
    assert float(grad[3, 5]) == pytest.approx(2 * 0.5 / 2.5)
    assert int((grad != 0).sum()) == 1
    pooled = clip.vision.pooled(clip.vision.stem(images.pixels))
    given = replace(images, pixels=None, features=None, pooled=pooled)
    torch.testing.assert_close(learner.logits(given, classes), learner.logits(images, classes))
    with pytest.raises(ConfigError, match="neither"):
        learner.logits(replace(given, pooled=None), classes)
