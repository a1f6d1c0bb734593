"""``--config`` files, damaged."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged, damaged_bytes

from diffuprompt.cli import train
from diffuprompt.cli.config_file import read_config

VALID: dict[str, Any] = {
    "data": "scenes",
    "learner": "cocoop",
    "generator": "diffusion",
    "shots": 4,
    "seed": 2,
    "precision": "fp32",
    "workers": 0,
    "rehash": False,
    "out": "somewhere",
    "set": {"epochs": 3, "lr": 0.01, "diffusion.nfe": 4},
}


def material(_folder: Path) -> dict[str, Any]:
    return VALID


def examples(valid: dict[str, Any]) -> st.SearchStrategy[Example]:
    text = damaged(valid).map(lambda pair: _toml(pair[0]).encode(errors="surrogatepass"))
    return st.one_of(text, text, text.flatmap(damaged_bytes), st.sampled_from(DEEP)).map(
        lambda data: Example(what=data, names=("options.toml", *_KEYS))
    )


def check(_valid: dict[str, Any], example: Example, folder: Path) -> None:
    path = folder / "options.toml"
    path.write_bytes(example.what)
    args = read_config(path, train.Args)
    config = train.job(args)
    for key, value in tomllib.loads(example.what.decode("utf-8-sig")).items():
        got = getattr(config, key.replace("-", "_"), None)
        same = got == value or str(got) == str(value)
        if key != "set" and (not same or isinstance(value, bool) != isinstance(got, bool)):
            raise Silent(f"{key} = {value!r} became {got!r}")


def _toml(value: Any, top: bool = True) -> str:
    """Write TOML; what it has no word for is left to be wrong."""
    if isinstance(value, dict):
        rows = [f"{json.dumps(k)} = {_toml(v, False)}" for k, v in value.items()]
        return "\n".join(rows) if top else "{" + ", ".join(rows) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item, False) for item in value) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


DEEP = (
    (".".join("a" * 100_000) + " = 1").encode(),
    b"a = " + b"[" * 100_000,
    b"a = " + b"{a = " * 20_000,
    b"shots = " + b"9" * 5000,
    b"a = 1979-05-27T07:32:00",
    b"\xff\xfe",
    b"shots = true",
    b"set = ['a', 1]",
    b"[[set]]\na = 1",
    b"[set]\n[set.a]\nb = 1",
)
_KEYS = (*VALID, *VALID["set"])

GROUP = Group(name="toml", material=material, examples=examples, check=check)
