"""What holds for every generator of every learner's prompts on every tower."""

from __future__ import annotations

import pytest
import torch
from tests.contract.cases import PROMPTED, build
from tests.contract.generators import GENERATORS, generator_for, own_flat, predict
from tests.contract.towers import NAMES, rows

from diffuprompt.learners.classes import Classes

# As in test_logits: float64 rounding through sampler and towers; meta-nets are float32.
EXACT = {"rtol": 0, "atol": 1e-8}
FLOAT32 = {"rtol": 0, "atol": 2e-4}


@pytest.fixture(params=PROMPTED)
def case(request):
    return request.param


@pytest.fixture(params=GENERATORS)
def kind(request):
    return request.param


@pytest.fixture
def learner(case, clip):
    return build(case, clip, moved=True).requires_grad_(False)


@pytest.fixture
def generator(kind, case, clip):
    return generator_for(kind, case, clip)


def test_untrained_returns_the_learners_prompts(case, clip, learner, images, classes):
    generator = generator_for("untrained", case, clip)
    own = own_flat(learner, images)
    assert torch.equal(generator.sample(images.features, own), own)
    torch.testing.assert_close(
        predict(learner, generator, images, classes), learner.logits(images, classes), **EXACT
    )


def test_trained_prompts_fit_the_learner_and_differ(case, clip, learner, images):
    generator = generator_for("trained", case, clip)
    own = own_flat(learner, images)
    flat = generator.sample(images.features, own)
    learner.spec.check(learner.spec.unpack(flat))
    # Else what follows says nothing: all slots have moved, and each image its own way.
    moved = learner.spec.unpack(flat - own)
    for name, tensor in moved.items():
        assert float(tensor.abs().max()) > 1e-4, name
        assert float((tensor[0] - tensor[1]).abs().max()) > 1e-6, name


def test_a_batch_is_its_images_one_by_one(generator, learner, images, classes):
    together = predict(learner, generator, images, classes)
    alone = [predict(learner, generator, rows(images, [i]), classes) for i in range(len(images))]
    tolerance = FLOAT32 if learner.own_prompts_need_image else EXACT
    torch.testing.assert_close(torch.cat(alone), together, **tolerance)


def test_permuting_images_permutes_predictions(generator, learner, images, classes):
    order = [*range(1, len(images)), 0]
    logits = predict(learner, generator, images, classes)
    again = predict(learner, generator, rows(images, order), classes)
    tolerance = FLOAT32 if learner.own_prompts_need_image else EXACT
    torch.testing.assert_close(again, logits[order], **tolerance)


@pytest.mark.parametrize("case", [c for c in PROMPTED if c != "coop-per-class"], indirect=True)
def test_class_order_permutes_predictions(generator, learner, images, classes):
    """Generated prompts do not look at the class list: the same for any names and any number."""
    logits = predict(learner, generator, images, classes)
    order = [3, 5, 0, 4]
    few = predict(learner, generator, images, Classes([NAMES[i] for i in order]))
    torch.testing.assert_close(few, logits[:, order], **EXACT)
