"""Captions: grammatical sentences about a scene at a random level of detail."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from diffuprompt.data.scenes.backgrounds import Background
from diffuprompt.data.scenes.world import Scene, SceneObject

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_SYNONYMS = {
    "circle": "disc",
    "cross": "plus sign",
    "ring": "donut",
    "crescent": "moon",
    "diamond": "rhombus",
    "oval": "ellipse",
    "bolt": "lightning bolt",
    "drop": "water drop",
    "semicircle": "half circle",
    "gray": "grey",
    "large": "big",
    "small": "little",
    "striped": "stripy",
    "dotted": "spotted",
    "outlined": "hollow",
}
_TRAILING = {"striped": "with stripes", "dotted": "with dots", "outlined": "with no filling"}
_OPENINGS = (
    "a photo of {}.", "a picture of {}.", "an image of {}.", "a drawing of {}.", "{}.",
    "{}", "there is {}.", "this is {}.", "a scene with {}.", "an image showing {}.",
)  # fmt: skip
_TEXTURES = {
    "plain": "plain background",
    "gradient": "shaded background",
    "noise": "grainy background",
    "tiles": "tiled background",
    "clouds": "cloudy background",
}


def with_article(phrase: str) -> str:
    """Put ``a`` or ``an`` before ``phrase``."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def plural(noun: str) -> str:
    """Return the plural of a shape's name."""
    return f"{noun}es" if noun.endswith(("s", "x", "sh", "ch")) else f"{noun}s"


def listed(phrases: Sequence[str]) -> str:
    """Join phrases with commas and a final ``and``."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _word(word: str, rng: Random) -> str:
    return _SYNONYMS[word] if word in _SYNONYMS and rng.random() < 0.15 else word


def noun_phrase(item: SceneObject, rng: Random, keep: float = 0.85, many: bool = False) -> str:
    """Describe one object without an article; each attribute is mentioned with chance ``keep``."""
    size = _word(item.size, rng) if item.size != "medium" and rng.random() < 0.35 * keep else ""
    colour = _word(item.colour, rng) if rng.random() < keep else ""
    fill = item.fill if rng.random() < keep else ""
    noun = _word(item.shape, rng)
    noun = plural(noun) if many else noun
    tail = ""
    if fill in _TRAILING and rng.random() < 0.12:
        fill, tail = "", _TRAILING[fill]
    elif fill == "solid":
        fill = "solid" if rng.random() < 0.2 else ""
    else:
        fill = _word(fill, rng) if fill else ""
    return " ".join(w for w in (size, colour, fill, noun, tail) if w)


def background_phrase(background: Background, rng: Random) -> str:
    """Describe the background, with its article."""
    texture = _TEXTURES[background.kind]
    tone = background.tone
    if tone == "medium" or rng.random() < 0.3:
        return with_article(texture)
    return with_article(f"{tone} {texture if rng.random() < 0.6 else 'background'}")


def _phrases(objects: Sequence[SceneObject], rng: Random, keep: float) -> list[str]:
    """One phrase per object, equal looks counted together."""
    groups: dict[str, list[SceneObject]] = {}
    for item in objects:
        groups.setdefault(item.name, []).append(item)
    phrases = []
    for members in groups.values():
        if len(members) == 1:
            phrases.append(with_article(noun_phrase(members[0], rng, keep)))
        else:
            rest = noun_phrase(members[0], rng, keep, many=True)
            same = len({m.size for m in members}) == 1
            if not same:
                rest = rest.removeprefix(f"{members[0].size} ")
                rest = rest.removeprefix(f"{_SYNONYMS.get(members[0].size, '-')} ")
            phrases.append(f"{_NUMBERS[len(members)]} {rest}")
    return phrases


def caption(scene: Scene, rng: Random, detail: float | None = None) -> str:
    """Return a caption of ``scene``.

    ``detail`` in [0, 1] sets how much is said: at 1 every object with every attribute and the
    background, at 0 a few bare nouns; None draws it. All randomness comes from ``rng``.
    """
    full = rng.random() ** 0.5 if detail is None else detail
    keep = 0.25 + 0.75 * full
    objects = list(scene.objects)
    if full < 0.5 and len(objects) > 2:  # speak of the largest only
        objects.sort(key=lambda o: -int(o.mask.sum()))
        objects = objects[: rng.randint(1, len(objects) - 1)]
    rng.shuffle(objects)
    text = listed(_phrases(objects, rng, keep))
    if rng.random() < 0.5 * full:
        text = f"{text} on {background_phrase(scene.background, rng)}"
    opening = rng.choice(_OPENINGS)
    if opening.startswith("there is") and text.startswith(_NUMBERS[2:]):
        opening = "there are {}."
    if opening.startswith("this is") and text.startswith(_NUMBERS[2:]):
        opening = "these are {}."
    return opening.format(text)
