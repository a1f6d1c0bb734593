"""Configurations as flat fields: which of them differ."""

from __future__ import annotations

from diffuprompt.report.configuration import differing_fields, flat_fields


def test_fields_have_dotted_names_and_the_seed_is_none_of_them() -> None:
    config = {"seed": 1, "train": {"epochs": 10, "warmup": {"lr": 0.1}}, "precision": "bf16"}
    assert flat_fields(config) == {
        "train.epochs": "10", "train.warmup.lr": "0.1", "precision": '"bf16"',
    }  # fmt: skip
    assert differing_fields(config, {**config, "seed": 2}) == frozenset()
    other = {"train": {"epochs": 11, "warmup": {"lr": 0.1}}}
    assert differing_fields(config, other) == {"train.epochs", "precision"}


def test_what_another_version_does_not_write_counts_where_it_changes_something() -> None:
    before = {"overfit": {"steps": 5, "episode": 0, "smoothing": 0.0}, "fit": {}}
    now = {"overfit": {"steps": 5}, "fit": {"condition_noise": 0.0}}
    assert differing_fields(before, now) == frozenset()
    before["overfit"]["episode"] = 5
    now["fit"]["condition_noise"] = 1.0
    assert differing_fields(before, now) == {"overfit.episode", "fit.condition_noise"}
