"""Backbones as Hugging Face folders, damaged."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_bytes, damaged_json
from tests.world import make_clip

from diffuprompt.checkpoints import load_clip

JSON = ("config.json", "preprocessor_config.json", "tokenizer.json")
WEIGHTS = "model.safetensors"
SIZES = {
    "hidden_size": "width", "num_hidden_layers": "layers", "num_attention_heads": "heads",
    "intermediate_size": "mlp_width",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """A folder, its files, and features of grey pixels."""

    folder: Path
    config: dict[str, Any]


def material(folder: Path) -> Material:
    make_clip(folder / "clip")
    config = json.loads((folder / "clip" / "config.json").read_text())
    return Material(folder=folder / "clip", config=config)


def examples(made: Material) -> st.SearchStrategy[Example]:
    parts = [_of_json(made, name) for name in JSON[:2]]
    tokens = damaged_bytes((made.folder / JSON[2]).read_bytes())
    weights = damaged_bytes((made.folder / WEIGHTS).read_bytes())
    return st.one_of(
        *parts,
        *parts,
        tokens.map(lambda data: Example(what=(JSON[2], data), names=("backbone",))),
        weights.map(lambda data: Example(what=(WEIGHTS, data), names=("backbone",))),
    )


def _of_json(made: Material, name: str) -> st.SearchStrategy[Example]:
    value = json.loads((made.folder / name).read_bytes())
    return damaged_json(value).map(lambda pair: Example(what=(name, pair[0]), names=("backbone",)))


def check(made: Material, example: Example, folder: Path) -> None:
    name, data = example.what
    place = folder / "backbone"
    place.mkdir()
    for inner in (*JSON, WEIGHTS):
        if inner != name:
            os.symlink(made.folder / inner, place / inner)
    (place / name).write_bytes(data)
    clip = load_clip(place)
    with torch.inference_mode():
        height, width = clip.preprocess.output_size
        features = clip.vision(torch.zeros(1, 3, height, width))
    if not torch.isfinite(features).all():
        raise Silent("features are NaN or infinite")
    if name == JSON[0]:
        _check_config(json.loads(data), clip)


def _check_config(fields: dict[str, Any], clip: Any) -> None:
    for section, tower in (
        ("text_config", clip.config.text),
        ("vision_config", clip.config.vision),
    ):
        told = {**fields.get(section, {}), **(fields.get(f"{section}_dict") or {})}
        for theirs, ours in SIZES.items():
            value = told.get(theirs)
            if value is not None and (type(value) is not int or value != getattr(tower, ours)):
                raise Silent(f"{section}.{theirs} {value!r} was read as {getattr(tower, ours)}")


GROUP = Group(name="backbones", material=material, examples=examples, check=check)
