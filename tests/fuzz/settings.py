"""Recipes and options as people type them after ``--set`` and on the command line."""

from __future__ import annotations

import contextlib
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent

from diffuprompt.cli import train
from diffuprompt.cli.parse import parse
from diffuprompt.errors import ConfigError
from diffuprompt.generators import KINDS
from diffuprompt.jobs.job import JobConfig, Resolved, resolve
from diffuprompt.learners import METHODS

LARGEST = 2**25  # no setting of ours means anything above
VALUES = (
    "1e9", "1000000000", "9" * 400, "-1", "true", "false", "null", "NaN", "Infinity", "-Infinity",
    "1e400", "", " ", "[]", "{}", "[1, 2]", '"1"', "0", "0.0", "1", "2", "1.5", "1e-300", "x",
    "\u202e1", "\x00", "1,2", "[" * 500, '{"a": 1}', "٣", "0x10", "1_0", "-0",
)  # fmt: skip
OPTIONS = ("shots", "seed", "workers", "text-memory-mib", "image-memory-mib")
TEXTS = ("learner", "generator", "protocol", "preset", "setting", "precision", "device", "data")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """``--set`` of a learner and a generator, or else words of the command line."""

    learner: str = ""
    generator: str = "none"
    key: str = ""
    value: str = ""
    words: tuple[str, ...] = ()


Key = tuple[str, str, str, Any]  # learner, generator, section.name, default


def material(_folder: Path) -> list[Key]:
    found = []
    for learner in METHODS:
        for generator in ("none", *KINDS) if METHODS[learner].options.generates else ("none",):
            for key, default in _values(_resolved(learner, generator)).items():
                found.append((learner, generator, key, default))
    return found


def examples(keys: list[Key]) -> st.SearchStrategy[Example]:
    value = st.one_of(
        st.sampled_from(VALUES),
        st.integers(-(10**9), 10**9).map(str),
        st.floats(allow_nan=False).map(str),
        st.text(max_size=8),
    )
    typed = st.tuples(st.sampled_from(keys), value, st.integers(0, 9)).map(_of_set)
    words = st.tuples(st.sampled_from(OPTIONS + TEXTS), value).map(_of_option)
    return st.one_of(typed, typed, typed, words)


def check(_keys: list[Key], example: Example, _folder: Path) -> None:
    asked: Asked = example.what
    if asked.words:
        _check_words(asked)
        return
    resolved = _resolved(asked.learner, asked.generator, f"{asked.key}={asked.value}")
    got, wanted = _values(resolved)[asked.key], _parsed(asked.value)
    if got != wanted and got != [wanted] and str(got) != asked.value:
        raise Silent(f"{asked.key}={asked.value!r} became {got!r}")


def _check_words(asked: Asked) -> None:
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            config = train.job(parse(train.Args, ["--data", "scenes", *asked.words], prog="train"))
    except SystemExit as stop:
        raise ConfigError(f"{asked.words[0]}: {quiet.getvalue()}") from stop
    got = getattr(config, asked.words[0].removeprefix("--").replace("-", "_"))
    word = asked.words[1]
    if isinstance(got, int) and word.strip().replace("_", "").lstrip("+-").isdecimal():
        word = str(int(word))  # "1_000" and digits of other scripts mean what they mean in Python
    if str(got) != word and got != _parsed(word):
        raise Silent(f"{asked.words} became {got!r}")


def _of_set(drawn: tuple[Key, str, int]) -> Example:
    (learner, generator, key, default), value, chance = drawn
    is_default = chance == 0
    if is_default:
        value = json.dumps(default)
    asked = Asked(learner=learner, generator=generator, key=key, value=value)
    return Example(
        what=asked,
        names=(key, key.split(".", 1)[1]),
        is_wrong=not is_default and _is_wrong(default, value),
        is_right=is_default,
    )


def _of_option(drawn: tuple[str, str]) -> Example:
    name, value = drawn
    wrong = name in OPTIONS and _is_wrong(1, value)
    if value.strip().replace("_", "").isdecimal():  # "1_0" is 10; large seeds mean something
        wrong = wrong and name != "seed" and int(value.replace("_", "")) > LARGEST
    return Example(what=Asked(words=(f"--{name}", value)), names=(name, name.replace("-", "_")),
                   is_wrong=wrong)  # fmt: skip


def _is_wrong(default: Any, text: str) -> bool:
    """Whether a value is known to be none for a setting with this default."""
    value = _parsed(text)
    if isinstance(default, bool):
        return not isinstance(value, bool)
    if isinstance(default, int | float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or abs(value) > LARGEST or math.isnan(value):
            return value is not None  # null means "follow another option" for some
        return isinstance(default, int) and value != int(value)
    return False


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _resolved(learner: str, generator: str, *overrides: str) -> Resolved:
    job = JobConfig(data="scenes", learner=learner, generator=generator, overrides=overrides)
    return resolve(job, dataset="scenes", backbone="b", own_pictures=False, logit_scale=100.0)


def _values(resolved: Resolved) -> dict[str, Any]:
    """Return every value of a resolved job that has an effect, by section and name."""
    sections = {"train": asdict(resolved.train), "learner": dict(resolved.options)}
    if resolved.generator != "none":
        sections |= {"overfit": asdict(resolved.overfit), "fit": asdict(resolved.fit)}
        kind = KINDS[resolved.generator]
        config = resolved.generator_config
        sections[kind.section] = {name: getattr(config, name) for name in kind.reads}
    return {f"{s}.{k}": v for s, values in sections.items() for k, v in values.items()}


GROUP = Group(name="settings", material=material, examples=examples, check=check)
