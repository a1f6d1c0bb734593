"""Captions are grammatical and true; referring expressions fit exactly one object."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from tests.data.reader import reading

from diffuprompt.data.scenes import (
    COLOURS,
    SHAPES,
    Look,
    Query,
    Scene,
    caption,
    compose,
    matches,
    references,
    scene,
)
from diffuprompt.data.scenes.captions import plural, with_article


def _row(*looks: Look) -> Scene:
    return compose(looks, ["small"] * len(looks), size=64, style="clean", rng=Random(0))


@pytest.mark.parametrize("detail", [None, 0.0, 0.5, 1.0])
def test_captions_are_grammatical(detail: float | None) -> None:
    for index in range(150):
        text = caption(scene(0, index), Random(index), detail)
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]|  |\{|\}| \.| ,", text), text
        assert not re.search(r"there is (two|three|four|five|six)", text), text
        assert not re.search(r"\b(two|three|four|five|six) (\w+ )*(circle|star|cross)\b", text), (
            text
        )


def test_a_full_caption_says_everything_and_nothing_false() -> None:
    for index in range(100):
        made = scene(1, index, num_objects=2)
        text = caption(made, Random(index), 1.0)
        said = [colour for colour in COLOURS if re.search(rf"\b{colour}\b", text)]
        assert set(said) <= {o.colour for o in made.objects}, text
        for shape in SHAPES:
            if re.search(rf"(?<!half ){shape}", text) and shape not in (
                "circle",
                "ring",
                "drop",
                "bolt",
            ):
                assert shape in {o.shape for o in made.objects}, text


def test_equal_objects_are_counted() -> None:
    made = _row(Look("cross", "blue"), Look("cross", "blue"))
    texts = {caption(made, Random(k), 1.0) for k in range(20)}
    assert any("two" in t and ("blue crosses" in t or "plus signs" in t) for t in texts)


def test_captions_depend_on_the_given_randomness_only() -> None:
    made = scene(0, 4)
    assert caption(made, Random(1)) == caption(made, Random(1))
    assert len({caption(made, Random(k)) for k in range(30)}) > 15


def test_articles_and_plurals() -> None:
    assert with_article("orange star") == "an orange star"
    assert with_article("red star") == "a red star"
    assert [plural(w) for w in ("cross", "star")] == ["crosses", "stars"]


def test_expressions_are_unique_by_an_independent_reader() -> None:
    kinds = set()
    made_any = 0
    for index in range(120):
        made = scene(2, index)
        for found in references(made, Random(index), count=len(made.objects)):
            made_any += 1
            assert matches(made, found.query) == (found.target,)
            assert reading(found.text, made.objects) == {found.target}, found.text
            start, end = found.root
            assert found.text[start:end] == found.text.split(" to the ")[0].split(" above ")[
                0
            ].split(" below ")[0].removeprefix("the ")
            kinds.add((found.query.extreme, found.query.relation))
    assert made_any > 350
    assert len(kinds) == 11  # plain, six extremes, four relations


def test_ambiguity_gives_no_expression() -> None:
    made = _row(Look("star", "red"), Look("star", "red"))
    assert matches(made, Query(shape="star")) == (0, 1)
    assert matches(made, Query(shape="ring")) == ()
    assert matches(made, Query(shape="star", relation="above", anchor=Query(shape="star"))) == ()
    for k in range(10):
        for found in references(made, Random(k), count=2):
            assert found.query.extreme in ("leftmost", "rightmost", "topmost", "bottommost")


def test_references_are_about_different_objects_that_may_be_meant() -> None:
    made = scene(2, 5, num_objects=6)
    everyone = references(made, Random(0), count=6)
    assert len({one.target for one in everyone}) == len(everyone) > 3
    assert {one.target for one in references(made, Random(0), count=6, targets=[4, 1])} <= {1, 4}
    assert references(made, Random(0), count=6, targets=[]) == []


def test_kinds_are_equally_likely_where_they_exist() -> None:
    made = _row(*[Look("star", "red"), Look("star", "blue"), Look("ring", "red")])
    kinds = Counter(references(made, Random(k))[0].kind for k in range(300))
    assert min(kinds.values()) > 70  # of 100, five standard deviations are 41
