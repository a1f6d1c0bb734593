"""Published recipes: sizes at ViT-B/16's shape, learning rates, and that all can be built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.contract.towers import NAMES, tower
from tests.learners.base16 import base16

from diffuprompt.engine.optim import Optimiser
from diffuprompt.errors import ConfigError
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS
from diffuprompt.learners.presets import (
    Preset,
    all_presets,
    automatic_preset,
    epochs_for_shots,
    find_preset,
)
from diffuprompt.learners.registry import build_learner

# the reference's numbers of trainable coordinates
COUNTS: list[tuple[str, dict[str, Any], int]] = [
    ("coop", {"num_ctx": 16}, 8_192),
    ("coop", {"num_ctx": 4, "ctx_init": "a photo of a"}, 2_048),
    ("cocoop", {}, 35_360),
    ("prograd", {}, 8_192),
    ("vpt", {}, 73_728),
    ("vpt", {"vision_depth": 1}, 8 * 768),
    ("deep-language", {}, 4 * 12 * 512),
    ("ivlp", {}, 2 * 12 * (512 + 768)),
    ("maple", {}, 3_555_072),
    ("maple", {"depth": 3}, 1_185_024),
    ("maple", {"free": "both"}, 3_555_072),
    ("promptsrc", {}, 46_080),
    ("promptsrc", {"prompts": "coupled", "num_ctx": 2}, 3_555_072),
    ("coprompt", {}, 5_014_528),
    ("clip-adapter", {}, 2 * 512 * 128),
    ("tip-adapter", {"size": 1600}, 0),
    ("tip-adapter-f", {"size": 1600}, 1600 * 512),
    ("linear-probe", {"trained_classes": list(NAMES)}, 6 * 513),
    ("lp++", {"trained_classes": list(NAMES)}, 6 * 514),
    ("gda", {"trained_classes": list(NAMES), "size": 96}, 0),
    ("prolip", {}, 393_216),
    ("clip-lora", {}, 184_320),
    ("clip-lora", {"num_ctx": 4}, 184_320 + 2_048),
    ("llu", {}, 525_312),
    ("2sfs", {}, 65_536),
    ("2sfs", {"trained_classes": ["cat", "dog"]}, 65_536 + 2 * 512),
]


@pytest.mark.parametrize(("name", "options", "count"), COUNTS)
def test_trainable_sizes_are_the_published_ones(name: str, options: dict, count: int) -> None:
    assert build_learner(name, base16(), options).num_trainable() == count


@pytest.mark.parametrize("preset", all_presets(), ids=lambda p: f"{p.learner}-{p.name}")
def test_every_recipe_fits_its_learner_and_the_published_backbone(preset: Preset) -> None:
    learner = build_learner(preset.learner, base16(), preset.options)
    assert learner.name == preset.learner
    again = build_learner(preset.learner, base16(), learner.config())
    assert again.spec.hash == learner.spec.hash
    assert preset.source
    assert f"--learner {preset.learner} --preset {preset.name}" in preset.command


@pytest.mark.parametrize(
    ("learner", "name", "rates"),
    [
        ("maple", "base-to-new", [1e-5, 3.5e-3, 3.166e-3, 2.291e-3, 1.209e-3]),
        ("maple", "cross-dataset", [1e-5, 2.6e-3]),
        ("vpt", "base-to-new", [1e-5, 2.5e-3, 2.261e-3, 1.636e-3, 0.864e-3]),
    ],
)
def test_rates_are_those_of_the_published_logs(learner: str, name: str, rates: list) -> None:
    train = find_preset(learner, name).train
    optimiser = Optimiser(lr=train.lr, schedule=train.schedule)
    found = [optimiser.lr_at(epoch, 0, train.epochs, 7) for epoch in range(train.epochs)]
    assert found == pytest.approx(rates, rel=5e-4)  # the reference prints four digits


@pytest.mark.parametrize(
    ("learner", "last"), [("promptsrc", 6.1e-5), ("cocoop", 1.91e-4), ("coop", 4.9e-7)]
)
def test_rates_end_above_zero(learner: str, last: float) -> None:
    train = find_preset(learner, "base-to-new").train
    rate = Optimiser(lr=train.lr).lr_at(train.epochs - 1, 0, train.epochs, 1)
    assert rate == pytest.approx(last, rel=0.01)


def test_values_that_differ_between_benchmarks() -> None:
    assert find_preset("promptsrc", "base-to-new").train.epochs == 20
    assert find_preset("promptsrc", "few-shot").train.epochs == 50
    assert find_preset("promptsrc", "few-shot").options == {"gpa_mean": 30.0, "gpa_std": 30.0}
    assert find_preset("promptsrc", "few-shot-late").options == {"gpa_mean": 45.0, "gpa_std": 5.0}
    cross = find_preset("promptsrc", "cross-dataset")
    assert cross.options == {"depth": 3, "gpa_mean": 6.0, "gpa_std": 10.0}
    assert find_preset("coop", "cross-dataset").train.epochs == 50
    assert find_preset("coprompt", "base-to-new").train.augment == "randaugment"


def test_recipes_as_released_where_the_paper_says_nothing() -> None:
    for name in ("few-shot", "base-to-new"):
        tuned, started = find_preset("tip-adapter-f", name).train, find_preset("prograd", name)
        assert (tuned.adam_eps, tuned.last_batch, tuned.views) == (1e-4, "keep", 0)
        assert tuned.unseen_views
        assert started.options == {"zeros": 12, "ctx_init": "a photo of a"}
    clip = tower("plain-vit", torch.float32)
    learner = build_learner("prograd", clip, started.options)
    (ctx,) = learner.parameters()
    words = clip.text.embed(torch.tensor(clip.tokenizer.encode("a photo of a")))
    assert torch.equal(ctx[:12], torch.zeros(12, clip.config.text.width))
    assert torch.equal(ctx[12:], words)
    tokens = learner.tokens(Classes(["cat"]))  # CoOp's layout: no word of the start stays
    name = len(clip.tokenizer.encode("cat."))
    assert (tokens.num_ctx, int(tokens.eot)) == (16, 1 + 16 + name)


def test_what_came_later_is_in_keys_only_where_it_is_used() -> None:
    lite = find_preset("tip-adapter-f", "lite").train
    assert not {"adam_eps", "last_batch", "unseen_views"} & set(lite.stated())
    assert replace(lite, adam_eps=1e-4).stated() == {**lite.stated(), "adam_eps": 1e-4}
    assert find_preset("tip-adapter-f", "few-shot").train.stated()["unseen_views"] is True


def test_overrides_of_single_data_sets_are_listed_and_never_chosen() -> None:
    tuned = {p.name: p for p in METHODS["coprompt"].presets if p.name.startswith("tuned-")}
    assert len(tuned) == 11
    eurosat, food = tuned["tuned-eurosat"], tuned["tuned-food101"]
    assert eurosat.options == {"depth": 12, "num_ctx": 2, "consistency": 0.1}
    assert (food.train.epochs, food.options["depth"]) == (5, 9)
    for benchmark in ("base-to-new", "few-shot"):
        assert not automatic_preset("coprompt", benchmark, lite=False).name.startswith("tuned")
    for key, mean in (("base", 84.00), ("new", 77.23)):  # the README's averages
        numbers = [p.published[key] for p in tuned.values()]
        assert sum(numbers) / 11 == pytest.approx(mean, abs=0.006)


def test_auto_takes_the_first_recipe_for_a_benchmark_without_one() -> None:
    assert automatic_preset("vpt", "few-shot", lite=False).name == "base-to-new"
    assert automatic_preset("vpt", "few-shot", lite=True).name == "lite"
    assert automatic_preset("zero-shot", "base-to-new", lite=True).name == "published"
    assert find_preset("maple", "published").name == "base-to-new"
    with pytest.raises(ConfigError, match="Did you mean 'few-shot'"):
        find_preset("coop", "few-shots")


@pytest.mark.parametrize(("shots", "epochs"), [(16, 200), (8, 200), (4, 100), (2, 100), (1, 50)])
def test_few_shot_recipes_of_coop_train_less_on_less(shots: int, epochs: int) -> None:
    for learner in ("coop", "prograd", "clip-adapter"):
        assert epochs_for_shots(find_preset(learner, "few-shot"), shots) == epochs
    assert epochs_for_shots(find_preset("promptsrc", "few-shot"), shots) == 50


@pytest.mark.parametrize(
    ("learner", "shots", "images", "classes", "train", "epochs"),
    [
        ("clip-lora", 16, 50 * 16, 50, {}, 320),  # 8,000 steps of 25 an epoch
        ("clip-lora", 1, 100, 100, {}, 167),  # 500 steps of 3
        ("clip-lora", 16, 0, 0, {}, 320),  # before the images are known
        ("2sfs", 16, 50 * 16, 50, {}, 192),
        ("2sfs", 2, 20, 10, {}, 600),  # fewer images than a batch: one step an epoch
        ("clip-lora", 1000, 40, 2, {}, 10_000),  # 20 pictures a class are 20 shots
        ("2sfs", 16, 50 * 16 - 20, 50, {}, 200),  # some classes have fewer: 4,800 steps of 24
        ("clip-lora", 16, 50 * 16, 50, {"batch": 4}, 40),  # 8,000 steps of 200
        ("clip-lora", 1, 100, 100, {"last_batch": "keep"}, 125),  # 500 steps of 4
    ],
)
def test_recipes_that_count_steps(
    learner: str, shots: int, images: int, classes: int, train: dict[str, Any], epochs: int
) -> None:
    preset = find_preset(learner, "few-shot")
    config = replace(preset.train, **train)
    found = epochs_for_shots(preset, shots, images=images, classes=classes, train=config)
    assert found == epochs


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("vpt", {"vision_depth": 13}, r"learner.vision_depth: expected at most 12.*got 13"),
    ("maple", {"depth": 20}, r"learner.depth: expected at most 12, the layers of this text tower"),
    ("coop", {"num_ctx": 74}, r"learner.num_ctx: expected at most 73 .* 77 tokens, got 74"),
    ("coop", {"num_ctx": 5, "ctx_init": "a photo of a"}, r"learner.num_ctx: .* most 4, the tokens"),
    ("promptsrc", {"num_ctx": 90, "ctx_init": None}, r"learner.num_ctx: expected at most 73"),
    ("prograd", {"zeros": 3, "ctx_init": "a photo"}, r"learner.num_ctx: expected at most 2, the"),
    ("prograd", {"zeros": 14, "ctx_init": "a photo of a"}, r"learner.zeros: 14 .* got the 4"),
    ("prograd", {"zeros": 12}, r"learner.zeros: got 12 with num_ctx=16 and ctx_init=None"),
    ("clip-lora", {"rank": 600}, r"learner.rank: expected at most 512, the width of the narrower"),
]


@pytest.mark.parametrize(("learner", "options", "message"), WRONG)
def test_what_does_not_fit_the_towers_names_field_and_range(
    learner: str, options: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_learner(learner, base16(), options)


def test_a_learner_on_towers_that_it_does_not_fit_is_not_built() -> None:
    with pytest.raises(ConfigError, match="vision_depth: expected at most 12"):
        build_learner("vpt", base16(), {"vision_depth": 13})
    with pytest.raises(ConfigError, match=r"no option 'dept'.*Did you mean 'depth'"):
        build_learner("maple", base16(), {"dept": 3})
    with pytest.raises(ConfigError, match="Did you mean 'promptsrc'"):
        build_learner("promtsrc", base16(), {})
