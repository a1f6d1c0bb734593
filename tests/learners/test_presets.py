from __future__ import annotations

import pytest

from diffuprompt.errors import ConfigError
from diffuprompt.learners.methods import METHODS
from diffuprompt.learners.presets import TrainConfig, all_presets, epochs_for_shots, find_preset


def test_names_are_unique_and_every_learner_has_a_recipe():
    names = [(p.learner, p.name) for p in all_presets()]
    assert len(set(names)) == len(names)
    assert {p.learner for p in all_presets()} == set(METHODS)


def test_published_recipes():
    """CoOp and CoCoOp as their repositories run them (2109.01134, 2203.05557)."""
    coop = find_preset("coop", "base-to-new")
    assert (coop.train.epochs, coop.train.batch, coop.train.lr) == (200, 32, 2e-3)
    assert coop.options == {"num_ctx": 4, "ctx_init": "a photo of a"}
    few = find_preset("coop", "few-shot")
    assert (few.train.epochs, few.train.batch, few.train.lr) == (200, 32, 2e-3)
    assert few.options == {"num_ctx": 16}
    assert [epochs_for_shots(few, k) for k in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]
    cocoop = find_preset("cocoop", "base-to-new")
    assert cocoop.options == {}
    assert (cocoop.train.epochs, cocoop.train.batch, cocoop.train.lr) == (10, 1, 2e-3)
    assert epochs_for_shots(cocoop, 1) == 10
    for preset in (coop, few, cocoop):
        assert preset.train.weight_decay == 5e-4
        assert preset.train.views == 0, "published recipes draw a fresh view every epoch"


def test_gda_and_prolip_train_as_released_except_on_small_towers():
    """mrflogs/ICLR24 counts ten views of each image; astra-vision/ProLIP has Adam's eps at 1e-4."""
    for name in ("few-shot", "base-to-new"):
        assert find_preset("gda", name).options["views"] == 10
        assert find_preset("prolip", name).train.adam_eps == 1e-4
    assert "views" not in find_preset("gda", "lite").options, "it was chosen with one"
    assert find_preset("prolip", "lite").train.adam_eps == TrainConfig.adam_eps


def test_zero_shot_has_one_recipe_under_every_name():
    assert find_preset("zero-shot", "lite") is find_preset("zero-shot", "published")
    assert find_preset("zero-shot", "base-to-new").train.epochs == 0


def test_wrong_names_get_the_near_miss():
    with pytest.raises(ConfigError, match=r"Did you mean 'few-shot'\?"):
        find_preset("coop", "fewshot")
    with pytest.raises(ConfigError, match=r"Did you mean 'coop'\?"):
        find_preset("cop", "lite")


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"batch": 0}, {"lr": 0.0}, {"lr": -1.0}, {"views": -1}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match=rf"train\.{next(iter(wrong))}: got .* expected a"):
        TrainConfig(**{"epochs": 1, "batch": 1, "lr": 0.1, **wrong})
