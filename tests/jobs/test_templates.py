"""Each data set's own sentences are the default where they are published, and keys stay."""

from __future__ import annotations

from typing import Any

import pytest

from diffuprompt.clip.templates import SINGLE
from diffuprompt.data.catalog import CATALOG
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.job import JobConfig, Resolved, resolve
from diffuprompt.learners.methods import METHODS

PETS, DTD = "a photo of a {}, a type of pet.", "{} texture."


def resolved(learner: str, dataset: str, *, own: bool = False, **values: Any) -> Resolved:
    job = JobConfig(data=dataset, learner=learner, **values)
    return resolve(job, dataset=dataset, backbone="clip", own_pictures=own, logit_scale=100.0)


@pytest.mark.parametrize(
    ("learner", "dataset", "option", "wanted"),
    [
        ("zero-shot", "oxford_pets", "templates", [PETS]),
        ("zero-shot", "imagenet", "templates", [SINGLE]),
        ("clip-adapter", "dtd", "templates", [DTD]),
        ("tip-adapter", "eurosat", "templates", ["a centered satellite photo of {}."]),
        ("tip-adapter-f", "imagenet", "templates", ["imagenet-7"]),
        ("prograd", "oxford_pets", "teacher", "a type of pet, a photo of a {}."),
        ("prograd", "ucf101", "teacher", "a photo of a person doing {}."),
        ("prograd", "sun397", "teacher", "single"),
        ("promptsrc", "oxford_pets", "teacher", "promptsrc-60"),
    ],
)
def test_what_the_authors_use_on_a_data_set(
    learner: str, dataset: str, option: str, wanted: object
) -> None:
    found = resolved(learner, dataset)
    assert found.options[option] == wanted
    assert getattr(found.learner_options, option) == wanted


# learners that always say their sentences
ALWAYS = ("zero-shot", "linear-probe", "lp++", "gda", "prolip")


def test_a_plain_sentence_leaves_configurations_as_they_were() -> None:
    """An option that came later is not in the configuration of a run that does not use it."""
    plain = [name for name, entry in CATALOG.items() if entry.template == SINGLE]
    assert "caltech101" in plain
    for learner in METHODS:
        for found in (resolved(learner, "caltech101"), resolved(learner, "mine", own=True)):
            told = found.to_json()["options"]
            assert told.get("templates") == ([SINGLE] if learner in ALWAYS else None)
            assert Resolved.from_json(found.to_json()) == found
    assert resolved("zero-shot", "dtd", own=True).options["templates"] == [SINGLE]
    assert resolved("zero-shot", "dtd-official").options["templates"] == [DTD]


@pytest.mark.parametrize("learner", ["clip-lora", "clip-adapter"])
def test_a_context_stands_in_the_place_of_a_data_sets_own_sentences(learner: str) -> None:
    """It was refused on every data set whose template is not "a photo of a {}."."""
    context = ("learner.num_ctx=4",)
    assert resolved(learner, "eurosat").options["templates"] != [SINGLE]
    found = resolved(learner, "eurosat", overrides=context)
    assert found.options["num_ctx"] == 4
    assert "templates" not in found.options
    for asked in (("dataset",), ("my {}.",)):
        with pytest.raises(ConfigError, match="sentences are for num_ctx=0"):
            resolved(learner, "eurosat", overrides=context, templates=asked)
    with pytest.raises(ConfigError, match="sentences are for num_ctx=0"):
        resolved(learner, "eurosat", overrides=(*context, "templates=my {}."))


def test_words_of_no_context_are_refused() -> None:
    """They told two runs apart that are one."""
    with pytest.raises(ConfigError, match="ctx_init: num_ctx=0 has no context to start, got 'my'"):
        JobConfig(data="eurosat", learner="clip-lora", overrides=("ctx_init=my",))


def test_templates_are_chosen_by_name_or_text() -> None:
    single = resolved("zero-shot", "oxford_pets", templates=("single",))
    assert single.options["templates"] == [SINGLE]
    both = resolved("tip-adapter", "oxford_pets", templates=("imagenet-7", "dataset", "my {}."))
    assert both.options["templates"] == ["imagenet-7", PETS, "my {}."]
    assert (
        resolved("prograd", "dtd", templates=("imagenet-80",)).options["teacher"] == "imagenet-80"
    )
    recipe = resolved("zero-shot", "oxford_pets", preset="ensemble")
    assert recipe.options["templates"] == ["imagenet-7"]
    asked = resolved("zero-shot", "oxford_pets", preset="ensemble", templates=("dataset",))
    assert asked.options["templates"] == [PETS]
    by_key = resolved("zero-shot", "oxford_pets", overrides=("templates=a {}.",))
    assert by_key.options["templates"] == ["a {}."]
    assert by_key.hash != single.hash != recipe.hash


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learner": "zero-shot", "templates": ("imagenet-8",)}, "Did you mean 'imagenet-80'"),
        ({"learner": "coop", "templates": ("single",)}, "coop reads none"),
        ({"learner": "prograd", "templates": ("single", "dataset")}, "prograd takes one"),
        (
            {"learner": "zero-shot", "templates": ("single",), "overrides": ("templates=a {}.",)},
            "give one of the two",
        ),
        ({"learner": "vpt", "overrides": ("learner.templates=photo",)}, "texts with {}"),
        ({"learner": "maple", "overrides": ("learner.templates=a {}.",)}, "for num_ctx=0"),
    ],
)
def test_what_is_no_template_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JobConfig(data="caltech101", **values)
