"""The methods: one per file, and the list of them all, in the order of tables; no torch."""

from __future__ import annotations

from diffuprompt.errors import ConfigError
from diffuprompt.learners.method import Method
from diffuprompt.learners.methods import (
    clip_adapter,
    clip_lora,
    cocoop,
    coop,
    coprompt,
    deep_language,
    ivlp,
    llu,
    maple,
    prograd,
    promptsrc,
    tip_adapter,
    two_stage,
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
    llu.METHOD,
    clip_lora.METHOD,
    two_stage.METHOD,
    vpt.METHOD,
    deep_language.METHOD,
    ivlp.METHOD,
    maple.METHOD,
    promptsrc.METHOD,
    coprompt.METHOD,
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
DEFAULT = coop.METHOD.name  # of a job that names no learner
UNTRAINED = zero_shot.METHOD.name  # sentences for prompts: works on any names with no training


def register(method: Method) -> Method:
    """Make a learner known by its name to everything in this process, and return it.

    A script calls it before it trains one or loads an artifact of one. Other processes (a study's
    workers, ``diffuprompt predict``) know only what they register themselves. Registering a name
    again replaces what a script registered before.

    Raises:
        ConfigError: the name is that of a method of the package, or there is no recipe to train by.
    """
    if any(method.name == own.name for own in _ALL):
        taken = [own.name for own in _ALL]
        raise ConfigError(f"method: the names {taken} are taken, got {method.name!r}")
    if not method.presets:
        raise ConfigError(f"method {method.name}: expected at least one preset, got none")
    METHODS[method.name] = method
    return method
