"""Which sentences a job's learner reads: the data set's own unless others are asked for; no torch.

The released code of zero-shot CLIP, CLIP-Adapter, Tip-Adapter and ProGrad has one set of templates
per data set; what a learner does with them is its own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffuprompt.clip import ENSEMBLES, SINGLE
from diffuprompt.data import CATALOG
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.learners import Method

DATASET = "dataset"
ONE = "single"


def check_templates(method: Method, asked: Sequence[str], overrides: Sequence[str]) -> None:
    """Raise `ConfigError` where ``asked`` is no template, or the method reads none of them."""
    if not asked:
        return
    known = [DATASET, *ENSEMBLES]
    for text in asked:
        if "{}" not in text and text not in known:
            raise ConfigError(
                f"templates: expected some of {known}, or texts with {{}} for the name, got "
                f"{text!r}.{near_miss(text, known)}"
            )
    if not method.templates_in:
        raise ConfigError(f"templates: {method.name} reads none; its prompts are learned")
    keys = (method.templates_in, f"learner.{method.templates_in}")
    twice = [text for text in overrides if text.partition("=")[0] in keys]
    if twice:
        raise ConfigError(f"templates: {twice[0]!r} says them too; give one of the two")
    if len(asked) > 1 and not isinstance(_default(method), list):
        raise ConfigError(f"templates: {method.name} takes one, got {list(asked)}")


def chosen_templates(
    method: Method, preset: Mapping[str, Any], asked: Sequence[str], dataset: str
) -> dict[str, Any]:
    """Return the option that holds a method's templates, with those that count.

    Args:
        method: of the learner.
        preset: what its recipe says; it counts unless others are asked for.
        asked: names and texts; none, or "dataset", for the data set's own.
        dataset: of the catalog; another name has "a photo of a {}.".
    """
    name = method.templates_in
    if not name or (name in preset and not asked):
        return {}
    found: list[str] = []
    for text in asked or (DATASET,):
        found += templates_of(method, dataset) if text == DATASET else [text]
    plain = [SINGLE if text == ONE else text for text in found]
    if isinstance(_default(method), list):
        return {name: list(dict.fromkeys(plain))}
    return {name: ONE if plain == [SINGLE] else plain[0]}


def templates_of(method: Method, dataset: str) -> list[str]:
    """Return what a method's authors use on a data set, by its name in the catalog."""
    if dataset in method.own_templates:
        return list(method.own_templates[dataset])
    return [CATALOG[dataset].template if dataset in CATALOG else SINGLE]


def _default(method: Method) -> Any:
    return getattr(method.options, method.templates_in)
