"""Artifacts, damaged: the description, the tensors, and files that are not there."""

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
from tests.fuzz.trained import trained_world

from diffuprompt.checkpoints import load_clip
from diffuprompt.clip import Clip
from diffuprompt.data import name_problems
from diffuprompt.hub.artifact import DESCRIPTION, TENSORS, load_artifact


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Artifacts with and without a generator, their backbone and what they hold."""

    clip: Clip
    folders: dict[str, Path]
    states: dict[str, dict[str, torch.Tensor]]


def material(folder: Path) -> Material:
    world = trained_world(folder)
    clip = load_clip(world / "clip")
    folders = {name: world / name / "artifact" for name in ("coop", "diffusion")}
    states = {name: _state(load_artifact(path, clip=clip)) for name, path in folders.items()}
    return Material(clip=clip, folders=folders, states=states)


def examples(made: Material) -> st.SearchStrategy[Example]:
    return st.one_of(*[_of_one(name, path) for name, path in made.folders.items()])


def _of_one(name: str, path: Path) -> st.SearchStrategy[Example]:
    described = json.loads((path / DESCRIPTION).read_bytes())
    tensors = (path / TENSORS).read_bytes()
    told = damaged_json(described).map(
        lambda pair: Example(what=(name, DESCRIPTION, pair[0]), names=(DESCRIPTION, "artifact"))
    )
    held = damaged_bytes(tensors).map(
        lambda data: Example(
            what=(name, TENSORS, data), names=(TENSORS,), is_wrong=_differs(data, tensors)
        )
    )
    return st.one_of(told, told, held)


def _differs(data: bytes, tensors: bytes) -> bool:
    """Whether the tensors' bytes differ, which a checksum must tell."""
    size = int.from_bytes(tensors[:8], "little")
    return data[: 8 + size] == tensors[: 8 + size] and data != tensors


def check(made: Material, example: Example, folder: Path) -> None:
    name, file, data = example.what
    folder = folder / "artifact"
    folder.mkdir()
    for inner in (DESCRIPTION, TENSORS):
        os.symlink(made.folders[name] / inner, folder / inner)
    (folder / file).unlink()
    (folder / file).write_bytes(data)
    artifact = load_artifact(folder, clip=made.clip)
    problems = name_problems(artifact.description.classes)
    if problems:
        raise Silent(str(problems))
    state = _state(artifact)
    if state.keys() != made.states[name].keys():
        raise Silent("other tensors than were written")
    for key, tensor in state.items():
        if not torch.equal(tensor, made.states[name][key]):
            raise Silent(f"{key} differs from what was written")


def _state(artifact: Any) -> dict[str, torch.Tensor]:
    state = dict(artifact.learner.state_dict())
    if artifact.generator is not None:
        state |= {f"generator.{k}": v for k, v in artifact.generator.state_dict().items()}
    return {key: value.clone() for key, value in state.items()}


GROUP = Group(name="artifacts", material=material, examples=examples, check=check)
