"""Every learner against an independent, plain implementation; and where it starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.contract.towers import NAMES, TINY
from tests.learners import plain
from tests.learners.cases import CASES, Images, build, world

from diffuprompt.errors import ConfigError
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_equal_the_plain_implementation(case: str, kind: str) -> None:
    clip, images, classes = world(kind)
    learner = build(case, clip)
    ours = learner.logits(images, classes)
    values = {k: p.detach().clone().requires_grad_() for k, p in learner.named_parameters()}
    buffers = dict(learner.named_buffers())
    theirs = plain.logits(learner, {**buffers, **values}, images.pixels, NAMES)
    # float64 through two or three layers; a wrong token, layer or position is 1e-3 and more
    assert relative(ours, theirs) < 1e-10
    if not values:
        return
    weights = torch.cos(torch.arange(ours.numel(), dtype=ours.dtype)).view_as(ours)
    mine = torch.autograd.grad((ours * weights).sum(), list(learner.parameters()))
    others = torch.autograd.grad((theirs * weights).sum(), list(values.values()))
    for name, a, b in zip(values, mine, others, strict=True):
        assert b.abs().max() > 0, name  # every learnable is used
        assert relative(a, b) < 1e-9, name


@pytest.mark.parametrize("case", CASES)
def test_grids_and_features_serve_as_well_as_pixels(case: str) -> None:
    clip, images, classes = world("stem-vit")
    learner = build(case, clip)
    with torch.no_grad():
        grid = clip.vision.stem(images.pixels)
        whole = learner.logits(images, classes)
        needed = replace(
            images,
            pixels=None,
            grid=grid if learner.needs.grid else None,
            features=images.features if learner.needs.features else None,
        )
        assert relative(learner.logits(needed, classes), whole) < 1e-12


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][0] not in ("tip-adapter",)])
def test_training_reads_exactly_what_it_says(case: str) -> None:
    clip, images, classes = world()
    learner = build(case, clip)
    needs = learner.training_needs
    grid = clip.vision.stem(images.pixels)
    enough = replace(
        images,
        pixels=None,
        features=images.features if needs.features else None,
        grid=grid if needs.grid else None,
        second=images.second if needs.second else None,
    )
    assert torch.isfinite(learner.loss(enough, classes)["loss"])
    for name in ("features", "grid", "second"):
        if getattr(needs, name):
            with pytest.raises((AssertionError, ConfigError)):
                learner.loss(replace(enough, **{name: None}), classes)


WORDS = [  # learners that start as "a photo of a {}." in the text tower, and have no vision prompts
    ("deep-language", {"depth": 1}),
    ("ivlp", {"depth": 1, "vision_ctx": 0, "num_ctx": 4}),
    ("ivlp", {"depth": 1, "vision_ctx": 0, "num_ctx": 2}),
    ("prograd", {"num_ctx": 4, "ctx_init": "a photo of a"}),
    ("clip-adapter", {"image_adapter": 0.0}),
    ("tip-adapter", {"alpha": 0.0}),
    ("zero-shot", {}),
    ("coop", {"num_ctx": 4, "ctx_init": "a photo of a"}),
    ("llu", {}),
    ("clip-lora", {}),
    ("clip-lora", {"num_ctx": 4}),
    ("2sfs", {}),
]


@pytest.mark.parametrize(("name", "options"), WORDS)
def test_untrained_learners_with_words_are_zero_shot(name: str, options: dict) -> None:
    clip, images, classes = world()
    learner = build_learner(name, clip, options)
    learner.start(Images(clip))
    learner.double()  # what LLU finds and maps is float32 else
    expected = plain.zero_shot(clip, images.pixels, NAMES)
    # learnables are float32, the tower float64: the words' vectors are exact in both
    assert relative(learner.logits(images, classes), expected) < 1e-10


def test_text_of_coupled_prompts_starts_as_the_words() -> None:
    clip, _, classes = world()
    learner = build_learner("maple", clip, {"depth": 1, "num_ctx": 4})
    zero_shot = build_learner("zero-shot", clip, {})
    assert relative(learner.static_text(classes), zero_shot.static_text(classes)) < 1e-10


def test_deeper_maps_start_as_copies_of_one() -> None:
    clip, _, _ = world("stem-vit")
    state = build_learner("maple", clip, {"depth": 2}).state_dict()
    deep = build_learner("maple", world()[0], {"depth": 2}).family.maps
    assert not torch.equal(state["family.maps.0.weight"], state["family.maps.1.weight"])
    assert len(deep) == 2


def test_cache_knows_classes_by_name_and_leaves_others_alone() -> None:
    clip, images, _ = world()
    learner = build("tip-adapter", clip)
    new = NAMES[4:]
    expected = plain.zero_shot(clip, images.pixels, new)
    assert relative(learner.logits(images, Classes(new)), expected) < 1e-10
    mixed = (NAMES[5], NAMES[2], NAMES[0])
    both = learner.logits(images, Classes(mixed))
    alone = learner.logits(images, Classes(mixed[::-1]))
    assert relative(both, alone.flip(1)) < 1e-12
    assert relative(both[:, :1], plain.zero_shot(clip, images.pixels, mixed)[:, :1]) < 1e-10
    with pytest.raises(ConfigError, match="no cache yet"):
        build_learner("tip-adapter", clip, {}).logits(images, Classes(new))


def test_keys_are_the_normalised_mean_over_views() -> None:
    clip, _, _ = world()
    images = Images(clip)
    learner = build("tip-adapter-f", clip, moved=False)
    mean = (images.view(0).float() + images.view(1).float()) / 2
    expected = mean / mean.norm(dim=1, keepdim=True)
    assert relative(learner.keys, expected) < 1e-6  # float32
    assert learner.config()["trained_classes"] == list(NAMES[:4])
    assert learner.config()["size"] == 10
