"""What holds for every rival of diffusion and every learner's prompts; one tower is enough.

The towers meet generators only through features and flat prompts, and all of them meet diffusion.
"""

from __future__ import annotations

import pytest
import torch
from tests.contract.cases import PROMPTED, build
from tests.contract.generators import RIVALS, generator_for, own_flat, predict
from tests.contract.towers import NAMES, pictures, rows, tower

from diffuprompt.hub.artifact import load_artifact, save_artifact
from diffuprompt.learners.classes import Classes

# As in test_generators: float64 rounding through generator and towers; meta-nets are float32.
EXACT = {"rtol": 0, "atol": 1e-8}
FLOAT32 = {"rtol": 0, "atol": 2e-4}


@pytest.fixture
def clip():
    return tower("plain-vit", torch.float64)


@pytest.fixture(params=PROMPTED)
def case(request):
    return request.param


@pytest.fixture(params=RIVALS)
def name(request):
    return request.param


@pytest.fixture
def learner(case, clip):
    return build(case, clip, moved=True).requires_grad_(False)


@pytest.fixture
def generator(name, case, clip):
    return generator_for("trained", case, clip, name)


def test_untrained_returns_the_learners_prompts(name, case, clip, learner, images, classes):
    generator = generator_for("untrained", case, clip, name)
    own = own_flat(learner, images)
    assert torch.equal(generator.sample(images.features, own), own)
    torch.testing.assert_close(
        predict(learner, generator, images, classes), learner.logits(images, classes), **EXACT
    )


def test_trained_prompts_fit_the_learner_and_differ(generator, learner, images):
    own = own_flat(learner, images)
    flat = generator.sample(images.features, own)
    learner.spec.check(learner.spec.unpack(flat))
    for slot, tensor in learner.spec.unpack(flat - own).items():
        assert float(tensor.abs().max()) > 1e-4, slot
        assert float((tensor[0] - tensor[1]).abs().max()) > 1e-6, slot


def test_images_and_classes_come_in_any_order_and_number(generator, case, learner, images, classes):
    logits = predict(learner, generator, images, classes)
    tolerance = FLOAT32 if learner.own_prompts_need_image else EXACT
    alone = [predict(learner, generator, rows(images, [i]), classes) for i in range(len(images))]
    torch.testing.assert_close(torch.cat(alone), logits, **tolerance)
    order = [*range(1, len(images)), 0]
    again = predict(learner, generator, rows(images, order), classes)
    torch.testing.assert_close(again, logits[order], **tolerance)
    if case != "coop-per-class":
        order = [3, 5, 0, 4]
        few = predict(learner, generator, images, Classes([NAMES[i] for i in order]))
        torch.testing.assert_close(few, logits[:, order], **EXACT)


def test_a_generator_comes_back(case, name, classes, tmp_path):
    clip = tower("plain-vit", torch.float32)
    learner, images = build(case, clip, moved=True), pictures(clip, 3)
    generator = generator_for("trained", case, clip, name)
    save_artifact(tmp_path, learner, NAMES, generator, {"seed": 1, "shots": 16})
    loaded = load_artifact(tmp_path, clip=clip)
    assert loaded.generator is not None
    assert type(loaded.generator) is type(generator)
    with torch.no_grad():
        want = predict(learner, generator, images, classes)
        assert torch.equal(predict(loaded.learner, loaded.generator, images, classes), want)
