"""The settings of a job by section: from a recipe, and as far as its generator reads them."""

from __future__ import annotations

import dataclasses
from typing import Any

from diffuprompt.generators import KINDS, FitConfig, OverfitConfig
from diffuprompt.jobs.overrides import Sections
from diffuprompt.learners import Preset, find_method, settable

GENERATION = ("overfit", "fit", *{kind.section: "" for kind in KINDS.values()})


def sections_of(preset: Preset, generator: str) -> Sections:
    """Return every setting of a recipe with a generator, before anything is changed."""
    sections = {
        "train": dataclasses.asdict(preset.train),
        "learner": {**settable(find_method(preset.learner).options), **preset.options},
        "overfit": dataclasses.asdict(OverfitConfig()),
        "fit": dataclasses.asdict(FitConfig()),
        **{kind.section: dataclasses.asdict(kind.config()) for kind in KINDS.values()},
    }
    for section, values in KINDS[generator].defaults.items() if generator in KINDS else ():
        sections[section] |= values
    return sections


def read_by(generator: str, sections: dict[str, Any]) -> dict[str, Any]:
    """Return ``sections`` without what a job with this generator does not read."""
    kept = {name: values for name, values in sections.items() if name not in GENERATION}
    if generator == "none":
        return kept
    kind = KINDS[generator]
    values = sections[kind.section]
    own = {key: values[key] for key in kind.reads if key in values}
    return {**kept, "overfit": sections["overfit"], "fit": sections["fit"], kind.section: own}
