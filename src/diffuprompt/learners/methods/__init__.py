"""The methods: one a file, and the list of them all; no torch."""

from __future__ import annotations

from diffuprompt.learners.method import Method
from diffuprompt.learners.methods import (
    clip_adapter,
    cocoop,
    coop,
    coprompt,
    deep_language,
    ivlp,
    maple,
    prograd,
    promptsrc,
    tip_adapter,
    vpt,
    zero_shot,
)

_ALL = (  # in the order in which tables show them
    zero_shot.METHOD,
    coop.METHOD,
    cocoop.METHOD,
    prograd.METHOD,
    clip_adapter.METHOD,
    tip_adapter.METHOD,
    tip_adapter.TUNED,
    vpt.METHOD,
    deep_language.METHOD,
    ivlp.METHOD,
    maple.METHOD,
    promptsrc.METHOD,
    coprompt.METHOD,
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
