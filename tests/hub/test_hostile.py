"""Artifacts and checkpoints of others that are wrong in kind or size are refused, at once."""

from __future__ import annotations

import json
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.mutations import mutated
from tests.contract.towers import NAMES, tower
from tests.hub import legacy

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.hub.artifact import TENSORS, load_artifact
from diffuprompt.hub.card import card
from diffuprompt.hub.description import DESCRIPTION, read_description
from diffuprompt.hub.legacy import import_legacy, read_legacy
from diffuprompt.learners.methods import METHODS
from diffuprompt.runs.cache import checksum

MOST_S = 30  # milliseconds alone; machines of tests are busy


@pytest.fixture(scope="module")
def clip(place: Path) -> Clip:
    return load_clip(place / "clip")


@pytest.fixture
def tiny_clip() -> Clip:
    return tower("plain-vit", torch.float32)


def edit(folder: Path, path: tuple[Any, ...], value: Any) -> None:
    data = json.loads((folder / DESCRIPTION).read_text())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (folder / DESCRIPTION).write_text(json.dumps(data))


def outcome(folder: Path, clip: Clip) -> str:
    start = time.monotonic()
    try:
        load_artifact(folder, clip=clip)
    except CheckpointError as error:
        return str(error)
    finally:
        assert time.monotonic() - start < MOST_S
    return str(folder)


@pytest.mark.parametrize("name", ["coop", "diffusion"])
def test_mutated_descriptions(name: str, clip: Clip, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    fields = json.loads((folder / DESCRIPTION).read_text())
    rng = random.Random(0)
    for _ in range(40):
        changed, what = mutated(fields, rng)
        (folder / DESCRIPTION).write_text(json.dumps(changed))
        assert str(folder) in outcome(folder, clip), what


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("learner_config", "num_ctx"), 10**9),
        (("learner_config", "num_ctx"), 4.0),
        (("learner_config", "num_ctx"), True),
        (("learner_config", "ctx_init"), ["a"]),
        (("generator", "config", "steps"), 10**9),
        (("generator", "config", "ensemble"), 10**9),
        (("generator", "config", "nfe"), 10**9),
        (("generator", "config", "nfe"), 5.5),
        (("generator", "config", "sigma_start"), 10**400),
        (("generator", "config", "guidance"), None),
        (("generator", "fit", "rank"), 10**9),
        (("generator", "fit", "lr"), "fast"),
        (("generator", "seed"), -1),
        (("generator", "seed"), 10**400),
        (("generator", "seed"), 1.0),
        (("generator", "solvers"), [10**9]),
        (("generator", "solvers"), [1] * 1000),
        (("classes",), []),
        (("classes",), ["cat", "Cat"]),
        (("classes",), ["cat", "e\u202evil"]),
        (("classes",), ["cat", ""]),
        (("classes",), ["cat", "x" * 301]),
        (("backbone",), None),
        (("tensors_hash",), 3),
    ],
)
def test_wrong_kinds_and_absurd_sizes(
    diffusion: Path, clip: Clip, path: tuple[Any, ...], value: Any
) -> None:
    edit(diffusion, path, value)
    text = outcome(diffusion, clip)
    assert str(diffusion / DESCRIPTION) in text
    assert path[-1] in text


@pytest.mark.parametrize("tokens", [10**5, 10**9])
def test_prompts_that_would_take_all_memory(tmp_path: Path, tiny_clip: Clip, tokens: int) -> None:
    path = legacy.write(tmp_path / "model", legacy.learned("ivlp", tiny_clip))
    import_legacy(path, "ivlp", tiny_clip, NAMES, tmp_path / "out")
    edit(tmp_path / "out", ("learner_config", "vision_ctx"), tokens)
    assert "vision_ctx: expected at most 4096" in outcome(tmp_path / "out", tiny_clip)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.int64])
def test_tensors_of_another_kind(coop: Path, clip: Clip, dtype: torch.dtype) -> None:
    tensors = load_file(coop / TENSORS)
    tensors["learner.ctx"] = torch.ones_like(tensors["learner.ctx"]).to(dtype)
    save_file(tensors, coop / TENSORS)
    edit(coop, ("tensors_hash",), checksum(tensors))
    assert f"learner.ctx: expected torch.float32, got {dtype}" in outcome(coop, clip)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_tensors_that_are_no_numbers(coop: Path, clip: Clip, value: float) -> None:
    tensors = load_file(coop / TENSORS)
    tensors["learner.ctx"] = tensors["learner.ctx"].double()
    tensors["learner.ctx"].view(-1)[0] = value
    save_file(tensors, coop / TENSORS)
    edit(coop, ("tensors_hash",), checksum(tensors))
    text = outcome(coop, clip)
    assert str(coop / TENSORS) in text
    assert "learner.ctx" in text


def changed_bytes(good: bytes, rng: random.Random, first: int) -> bytes:
    data = bytearray(good)
    where = rng.choice((rng.randrange(len(data)), rng.randrange(first)))
    kind = rng.randrange(3)
    if kind == 0:
        data[where] = rng.randrange(256)
    elif kind == 1:
        del data[where : where + rng.randrange(1, 30)]
    else:
        data = data[:where]
    return bytes(data)


def test_mutated_bytes_of_tensors(coop: Path, clip: Clip) -> None:
    rng, good = random.Random(0), (coop / TENSORS).read_bytes()
    for _ in range(80):
        (coop / TENSORS).write_bytes(changed_bytes(good, rng, 100))
        assert str(coop) in outcome(coop, clip)
    (coop / TENSORS).write_bytes(b"\xff" * 8 + good)
    assert "not a readable safetensors file" in outcome(coop, clip)


def test_mutated_bytes_of_an_import(tmp_path: Path, tiny_clip: Clip) -> None:
    path = legacy.write(tmp_path / "model", legacy.learned("coop", tiny_clip))
    rng, good = random.Random(0), path.read_bytes()
    for _ in range(80):
        path.write_bytes(changed_bytes(good, rng, 3000))
        try:
            read_legacy(path, "coop")
        except CheckpointError as error:
            text = str(error)
        else:
            text = str(path)
        assert str(path) in text


def test_folders_in_the_place_of_files(coop: Path, clip: Clip) -> None:
    for name in (TENSORS, DESCRIPTION):
        (coop / name).unlink()
        (coop / name).mkdir()
        assert str(coop / name) in outcome(coop, clip)


# Names in the card

NASTY = (
    "a | b",
    "<img src=x onerror=alert(1)>",
    "[click](https://x.example)",
    "www.x.example",
    "`code`",
    "*bold* _it_ ~~s~~",
    "![x](y)",
    "a\nb",
    "a\u202eb",
    "a\u200bb",
    "a\x1b[31mb",
    "x" * 250,
)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_shown_as_they_are_in_the_card(coop: Path, name: str) -> None:
    description = read_description(coop).model_dump()
    description |= {"backbone": name, "classes": (name, "blue_sky")}
    description["training"] = {"dataset": name, "shots": name}
    clean = {**description, "backbone": "x", "classes": ("x", "blue_sky")}
    clean["training"] = {"dataset": "x", "shots": "x"}
    text, plain = card(description, 3), card(clean, 3)
    assert text.count("\n") == plain.count("\n")
    assert not set("\u202e\u200b\x1b") & set(text)
    for sign in "<[|*":
        assert text.replace("\\" + sign, "").count(sign) in {
            plain.count(sign),
            plain.count(sign) + f"`{name}`".count(sign),  # once more in the code span
        }
    assert "blue_sky" in text
    assert "x" * 101 not in text


# Checkpoints of other repositories


@pytest.mark.parametrize(
    "content",
    [
        1.5,
        None,
        torch.ones(3),
        torch.tensor(1.0),
        [torch.ones(2)],
        {},
        {"state_dict": 3},
        {"state_dict": torch.ones(3)},
        {"state_dict": {}},
        {"state_dict": {3: torch.ones(2, 2)}},
        {"state_dict": {"ctx": 3}},
        {"state_dict": {"ctx": torch.tensor(1.0)}},
        {"state_dict": {"ctx": torch.ones(4)}},
        {"state_dict": {"ctx": torch.ones(0, 0)}},
        {"state_dict": {"ctx": torch.ones(2, 2, 2, 2, 2)}},
        {"state_dict": {"ctx": torch.ones(2, 32, dtype=torch.int8)}},
        {"state_dict": {"ctx": torch.ones(2, 32, dtype=torch.complex64)}},
        {"state_dict": {"ctx": torch.full((2, 32), float("nan"))}},
        {"state_dict": {"ctx": torch.full((2, 32), 1e300, dtype=torch.float64)}},
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_imports_that_hold_something_else(
    tmp_path: Path, tiny_clip: Clip, content: Any, old: bool
) -> None:
    path = tmp_path / "model.pth.tar-5"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointError, match=r"model\.pth\.tar-5"):
        import_legacy(path, "coop", tiny_clip, NAMES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "scale", [torch.tensor(float("nan")), torch.tensor(float("inf")), torch.ones(2)]
)
def test_no_scale_passes_by_being_none(tmp_path: Path, tiny_clip: Clip, scale: Any) -> None:
    state = {**legacy.learned("maple", tiny_clip), "logit_scale": scale}
    path = legacy.write(tmp_path / "model", state)
    with pytest.raises(CheckpointError, match="logit_scale"):
        import_legacy(path, "maple", tiny_clip, NAMES, tmp_path / "out")


def test_empty_zips_and_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty", "w"):
        pass
    (tmp_path / "folder").mkdir()
    (tmp_path / "nothing").write_bytes(b"")
    for name in ("empty", "folder", "nothing"):
        with pytest.raises(CheckpointError, match=name):
            read_legacy(tmp_path / name, "coop")


@pytest.mark.parametrize("method", ["", "x", "zero-shot", "MaPLe", "a\x1b[31m"])
def test_unknown_learners_name_the_option_and_what_is_possible(tmp_path: Path, method: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_legacy(tmp_path, method)
    assert str(caught.value).startswith("--learner: ")
    for known in (m.name for m in METHODS.values() if m.legacy):
        assert known in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [("cat", "Cat"), ("cat", "d\u200bog"), ("",), (), ("cat", "x" * 301)]
)
def test_names_of_an_import_are_checked(
    tmp_path: Path, tiny_clip: Clip, names: tuple[str, ...]
) -> None:
    path = legacy.write(tmp_path / "model", legacy.learned("coop", tiny_clip))
    with pytest.raises(ConfigError, match="--classes"):
        import_legacy(path, "coop", tiny_clip, names, tmp_path / "out")


def test_nothing_is_replaced_by_an_import(tmp_path: Path, tiny_clip: Clip) -> None:
    path = legacy.write(tmp_path / "model", legacy.learned("coop", tiny_clip))
    (tmp_path / "empty").mkdir()
    import_legacy(path, "coop", tiny_clip, NAMES, tmp_path / "empty")
    before = (tmp_path / "empty" / DESCRIPTION).read_bytes()
    for taken in (tmp_path / "empty", path):
        with pytest.raises(ConfigError, match="--out"):
            import_legacy(path, "coop", tiny_clip, NAMES, taken)
    assert (tmp_path / "empty" / DESCRIPTION).read_bytes() == before
