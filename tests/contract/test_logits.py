"""What holds for the logits of every learner on every tower."""

from __future__ import annotations

import re

import pytest
import torch
from tests.contract import direct
from tests.contract.cases import CASES
from tests.contract.towers import NAMES, TINY, rows
from torch import Tensor

from diffuprompt.clip.text import TextPlan
from diffuprompt.data.images import ImageBatch
from diffuprompt.errors import PromptShapeError
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS
from diffuprompt.prompts import Prompts

# float64 towers: rounding is near 1e-13 of logits up to 20; a wrong token or image is above 1e-3.
EXACT = {"rtol": 0, "atol": 1e-9}
# Meta-nets are float32 whatever the tower is; their rounding (1e-7) passes through the text tower.
FLOAT32 = {"rtol": 0, "atol": 2e-4}


def tolerance(learner):
    return FLOAT32 if learner.own_prompts_need_image else EXACT


def flat_prompts(learner, images: ImageBatch) -> Tensor:
    """Prompts of every image's own, near the learner's: ``(B, F)``."""
    own = learner.spec.pack(learner.prompts(images.features)).double()
    own = own.expand(len(images), -1)
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(5), dtype=own.dtype)
    return (own + 0.3 * noise).detach()


def test_every_learner_has_a_case():
    covered = {name for name, _ in CASES.values()}
    assert covered >= set(METHODS)


def test_own_prompts_are_the_default(learner, images, classes):
    own = learner.prompts(learner.features(images))
    learner.spec.check(own)
    logits = learner.logits(images, classes)
    assert logits.shape == (len(images), len(NAMES))
    assert torch.equal(logits, learner.logits(images, classes, own))
    assert float(logits.detach().std(1).min()) > 1e-3, "flat logits would prove nothing"


def test_features_stand_for_pixels(learner, images, classes):
    bare = ImageBatch(images.pixels, None, images.index)
    assert torch.equal(learner.features(bare), images.features)
    logits = learner.logits(images, classes)
    torch.testing.assert_close(learner.logits(bare, classes), logits, **EXACT)


def test_packed_prompts_give_the_same_logits(learner, images, classes):
    own = learner.prompts(images.features)
    again = learner.spec.unpack(learner.spec.pack(own))
    for name, tensor in own.items():
        assert torch.equal(again[name], tensor.expand_as(again[name]))
    logits = learner.logits(images, classes)
    torch.testing.assert_close(learner.logits(images, classes, again), logits, **EXACT)


def test_equal_copies_are_shared_prompts(learner, images, classes):
    one = learner.spec.pack(learner.prompts(images.features[:1]))
    shared = learner.logits(images, classes, learner.spec.unpack(one))
    copies = learner.spec.unpack(one.expand(len(images), -1))
    torch.testing.assert_close(learner.logits(images, classes, copies), shared, **EXACT)


def test_shared_and_own_slots_mix(prompted, images, classes):
    """One slot differs by image, the others are shared: the batch rule is per slot."""
    own = prompted.spec.unpack(flat_prompts(prompted, images))
    first = prompted.spec.slots[0].name
    mixed = Prompts({k: t if k == first else t[:1] for k, t in own.items()})
    whole = Prompts({k: t.expand(len(images), *t.shape[1:]) for k, t in mixed.items()})
    torch.testing.assert_close(
        prompted.logits(images, classes, mixed), prompted.logits(images, classes, whole), **EXACT
    )


def test_class_order_permutes_logits(learner, images, classes):
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = Classes([NAMES[i] for i in order])
    prompts = learner.spec.unpack(flat_prompts(learner, images))
    moved = Prompts(
        {s.name: prompts[s.name][:, order] if s.classes > 1 else prompts[s.name]
         for s in learner.spec.slots}
    )  # fmt: skip
    logits = learner.logits(images, classes, prompts)
    torch.testing.assert_close(learner.logits(images, shuffled, moved), logits[:, order], **EXACT)


def test_class_order_permutes_own_logits(free, images, classes):
    order = [4, 0, 5, 2, 1, 3]
    logits = free.logits(images, classes)
    again = free.logits(images, Classes([NAMES[i] for i in order]))
    torch.testing.assert_close(again, logits[:, order], **EXACT)


def test_other_classes_do_not_matter(free, images, classes):
    """A class keeps its logit whatever stands beside it (names of another length included)."""
    logits = free.logits(images, classes)
    few = free.logits(images, Classes([NAMES[4], NAMES[0]]))
    torch.testing.assert_close(few, logits[:, [4, 0]], **EXACT)
    alone = free.logits(images, Classes([NAMES[1]]))
    torch.testing.assert_close(alone, logits[:, [1]], **EXACT)


def test_a_batch_is_its_images_one_by_one(learner, images, classes):
    together = learner.logits(images, classes)
    alone = [learner.logits(rows(images, [i]), classes) for i in range(len(images))]
    torch.testing.assert_close(torch.cat(alone), together, **tolerance(learner))
    prompts = learner.spec.unpack(flat_prompts(learner, images))
    together = learner.logits(images, classes, prompts)
    alone = [
        learner.logits(rows(images, [i]), classes, prompts.select(slice(i, i + 1)))
        for i in range(len(images))
    ]
    torch.testing.assert_close(torch.cat(alone), together, **EXACT)


def test_static_text_is_only_a_saving(learner, images, classes):
    text = learner.static_text(classes)
    if learner.own_prompts_need_image:
        assert text is None
        return
    assert text.shape == (1, len(NAMES), learner.clip.config.embed_dim)
    assert torch.equal(learner.logits(images, classes, text=text), learner.logits(images, classes))


def test_equal_to_clip_written_directly(learner, images, classes):
    """Logits, and gradients by the prompts, against the whole context (77 tokens) of each class."""
    images = rows(images, [0, 1] if learner.clip.name in TINY else [0])  # dense tokens take time
    flat = flat_prompts(learner, images).requires_grad_()
    ours = learner.logits(images, classes, learner.spec.unpack(flat))
    theirs = direct.logits(learner, images, NAMES, learner.spec.unpack(flat))
    torch.testing.assert_close(ours, theirs, **EXACT)
    if not flat.numel():
        return
    weights = torch.cos(torch.arange(ours.numel(), dtype=ours.dtype)).view_as(ours)
    (got,) = torch.autograd.grad((ours * weights).sum(), flat)
    (want,) = torch.autograd.grad((theirs * weights).sum(), flat)
    assert float((got - want).abs().max()) < 1e-9 * float(want.abs().max())


@pytest.mark.parametrize("clip", TINY, indirect=True)
@pytest.mark.parametrize(
    "plan",
    [TextPlan(path="plain"), TextPlan(memory_mib=0), TextPlan(memory_mib=0, recompute=True)],
    ids=["plain", "one-by-one", "recomputed"],
)
def test_the_plan_changes_nothing(plan, learner, images, classes):
    """Neither logits nor gradients, down to one image and one class at a time."""
    flat = flat_prompts(learner, images).requires_grad_()

    def run():
        logits = learner.logits(images, classes, learner.spec.unpack(flat))
        with torch.no_grad():
            again = learner.logits(images, classes, learner.spec.unpack(flat))
        torch.testing.assert_close(again, logits, **EXACT)
        (grad,) = torch.autograd.grad(logits.square().sum() + flat.sum(), flat)
        return logits, grad

    logits, grad = run()
    learner.plan = plan
    other, other_grad = run()
    torch.testing.assert_close(other, logits, **EXACT)
    torch.testing.assert_close(other_grad, grad, rtol=1e-9, atol=1e-8)


def test_prompts_that_do_not_fit_are_refused(prompted, images, classes):
    own = prompted.prompts(images.features)
    first = next(iter(own))
    with pytest.raises(PromptShapeError, match="is missing"):
        prompted.logits(images, classes, Prompts({}))
    with pytest.raises(PromptShapeError, match=r"unknown slot 'text\.99'"):
        prompted.logits(images, classes, Prompts({**own, "text.99": own[first]}))
    with pytest.raises(PromptShapeError, match=rf"slot '{re.escape(first)}': expected"):
        prompted.logits(images, classes, Prompts({**own, first: own[first][..., :-1]}))
