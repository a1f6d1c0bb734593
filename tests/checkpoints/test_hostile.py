"""Backbones that are wrong in kind or size end in an error that names the file, at once."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.mutations import mutated
from tests.checkpoints.states import described, openai_state
from tests.clip import tiny

from diffuprompt.checkpoints import tokenizer
from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.load import load_clip
from diffuprompt.checkpoints.pickles import read_pickle
from diffuprompt.checkpoints.tokenizer import BPE_FILE
from diffuprompt.checkpoints.torchscript import computes, read_torchscript
from diffuprompt.errors import CheckpointError

pytest.importorskip("transformers")

MOST_S = 30  # milliseconds alone; machines of tests are busy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_folder(tiny.oracle(), tmp_path_factory.mktemp("hostile") / "clip")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "clip"))


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    described(tmp_path)
    tiny.bpe_file(tmp_path)
    return tmp_path / "model.pt"


def outcome(read: Callable[[str], object], name: Path) -> str:
    """Return the error of a reader, or the name where it can be read."""
    try:
        read(str(name))
    except CheckpointError as error:
        return str(error)
    return str(name)


def refused(name: Path) -> str:
    """Both readers refuse; returns what loading says."""
    start = time.monotonic()
    with pytest.raises(CheckpointError):
        read_header(str(name))
    with pytest.raises(CheckpointError) as caught:
        load_clip(name)
    assert time.monotonic() - start < MOST_S
    assert str(name.parent) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "count"),
    [("config.json", 25), ("preprocessor_config.json", 25), ("tokenizer.json", 15)],
)
def test_mutated_files_of_a_folder(folder: Path, file: str, count: int) -> None:
    rng, path = random.Random(0), folder / file
    fields = json.loads(path.read_text())
    for _ in range(count):
        changed, what = mutated(fields, rng)
        path.write_text(json.dumps(changed))
        start = time.monotonic()
        for read in (read_header, load_clip):
            assert str(folder) in outcome(read, folder), what
        assert time.monotonic() - start < MOST_S, what


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("vision_config", "hidden_size", 10**9),
        ("vision_config", "num_hidden_layers", 10**9),
        ("vision_config", "num_hidden_layers", -1),
        ("vision_config", "image_size", 10**6),
        ("vision_config", "num_channels", 10**9),
        ("vision_config", "intermediate_size", 10**12),
        ("vision_config", "stem", {"type": "efficientnet_lite0", "image_size": "64"}),
        ("vision_config", "stem", {"type": ["efficientnet_lite0"], "image_size": 64}),
        ("text_config", "vocab_size", 10**12),
        ("text_config", "max_position_embeddings", 10**6),
        ("text_config", "hidden_act", ["gelu"]),
        ("text_config", "layer_norm_eps", 1.0),
        ("text_config", "num_attention_heads", 10**9),
    ],
)
def test_absurd_sizes_are_refused_by_field(
    folder: Path, section: str, field: str, value: object
) -> None:
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    fields[section][field] = value
    path.write_text(json.dumps(fields))
    assert field in refused(folder)


@pytest.mark.parametrize("section", ["text_config", "vision_config", "text_config_dict"])
@pytest.mark.parametrize("value", [[1], "x", 3])
def test_sections_of_another_kind(folder: Path, section: str, value: object) -> None:
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, section: value}))
    assert f"{section}: expected an object" in refused(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 10**9),
        ("size", {"shortest_edge": 10**9}),
        ("rescale_factor", 10**400),
        ("image_mean", [10**400, 0, 0]),
        ("image_std", [1e-300, 1, 1]),
    ],
)
def test_absurd_preprocessing(folder: Path, field: str, value: object) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    assert f"preprocessor_config.json: unsupported preprocessing\n  {field}" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_a_folder_where_a_file_should_be(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(CheckpointError):
        load_clip(folder)


def test_a_bomb_of_merges(state_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "MOST_BYTES", 2**20)
    torch.save(openai_state(), state_file)
    (state_file.parent / BPE_FILE).write_bytes(gzip.compress(b"a b\n" * 2**19))
    assert "bytes of merges" in refused(state_file)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10**5, b'{"a": 1e999}', b"[]"])
def test_vocabularies_that_are_none(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json" in refused(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_bytes(b"")
    (folder / "vocab.json").write_bytes(content)
    assert "vocab.json" in refused(folder)


# Values


@pytest.mark.parametrize("name", ["visual.proj", "logit_scale", "ln_final.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(state_file: Path, name: str, value: float) -> None:
    state = openai_state()
    state[name].view(-1)[0] = value
    torch.save(state, state_file)
    with pytest.raises(CheckpointError, match=rf"(?s)model\.pt.*{name}"):
        load_clip(state_file)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_archives_with_values_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    module = torch.nn.Linear(2, 2)
    with torch.no_grad():
        module.weight[0, 0] = value
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 2)), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"(?s)m\.pt.*weight: 1 of 4"):
        read_torchscript(tmp_path / "m.pt")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.int64])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_kinds_that_would_be_cast_with_loss(folder: Path, dtype: torch.dtype, form: str) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    state["visual_projection.weight"] = state["visual_projection.weight"].to(dtype)
    if form == "bin":
        path.unlink()
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, path)
    kind = str(dtype).replace(".", r"\.")
    with pytest.raises(CheckpointError, match=rf"visual_projection\.weight {kind}"):
        load_clip(folder)


def test_values_beyond_the_range_of_the_asked_kind(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    wide = state["visual_projection.weight"].double()
    save_file({**state, "visual_projection.weight": wide}, path)
    load_clip(folder)  # float64 is welcome where nothing is lost
    wide[0, 0] = 1e300
    save_file({**state, "visual_projection.weight": wide}, path)
    with pytest.raises(CheckpointError, match=r"visual_projection\.weight has values beyond"):
        load_clip(folder)


@pytest.mark.parametrize("scale", [100.0, -50.0, 1e30])
@pytest.mark.parametrize("form", ["safetensors", "bin", "pt"])
def test_absurd_scales(folder: Path, state_file: Path, scale: float, form: str) -> None:
    value, name = torch.tensor(scale), folder
    if form == "pt":
        torch.save({**openai_state(), "logit_scale": value}, state_file)
        name = state_file
    else:
        path = folder / "model.safetensors"
        state = {**load_file(path), "logit_scale": value}
        path.unlink()
        if form == "bin":
            torch.save(state, folder / "pytorch_model.bin")
        else:
            save_file(state, path)
    assert "logit_scale: expected the logarithm" in refused(name)


# Pickles


def zipped(data: bytes, path: Path, *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("m/data.pkl", data)
        archive.writestr("m/data/0", b"\0" * 16)
        archive.writestr("m/version", b"3\n")
    return path


def call(name: str, *args: Any) -> bytes:
    """The instructions of ``name(*args)``."""
    module, _, attribute = name.rpartition(".")
    packed = pickle.dumps(args, protocol=2)[2:-1]
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n" + packed + b"R"


STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)


def tensor(offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> bytes:
    rest = b"".join(pickle.dumps(x, protocol=2)[2:-1] for x in (offset, size, stride, False, None))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + rest + b"tR"


def twins(levels: int) -> bytes:
    """``x = (x, x)``, that many times."""
    return b")" + b"".join(b"q%cq%ch%c\x86" % (i, i, i) for i in range(levels))


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a scalar": b"\x80\x02K\x01.",
    "none": b"N.",
    "a vector": b"\x80\x02" + tensor(0, (4,), (1,)) + b".",
    "a list": b"].",
    "a key that takes an age to hash": b"}" + twins(60) + b"K\x01s.",
    "such a key in a dictionary": b"(" + twins(60) + b"K\x01d.",
    "such a key in an ordered dictionary": (
        b"ccollections\nOrderedDict\n(](" + twins(60) + b"K\x01\x86etR."
    ),
    "members of a set": b"\x80\x04\x8f(" + twins(60) + b"\x90.",
    "a memo of four billion": b"Nr\xff\xff\xff\x7f.",
    "a text of four gigabytes": b"X\xff\xff\xff\xff.",
    "bytes of an exabyte": b"\x8e" + b"\xff" * 7 + b"\x0f.",
    "an array of an exabyte": b"\x96" + b"\xff" * 7 + b"\x0f.",
    "a frame of an exabyte": b"\x80\x04\x95" + b"\xff" * 7 + b"\x0fN.",
    "a number of 10,000 digits": b"I" + b"9" * 10_000 + b"\n.",
    "a tensor of a terabyte": b"}X\x01\x00\x00\x00a" + tensor(0, (2**40,), (0,)) + b"s.",
    "a tensor outside": b"}X\x01\x00\x00\x00a" + tensor(3, (2,), (1,)) + b"s.",
    "a tensor before its start": b"}X\x01\x00\x00\x00a" + tensor(-1, (2,), (1,)) + b"s.",
    "negative strides": b"}X\x01\x00\x00\x00a" + tensor(2, (2,), (-1,)) + b"s.",
    "sizes that overflow": b"}X\x01\x00\x00\x00a" + tensor(0, (2**63, 2**63), (1, 1)) + b"s.",
    "many axes": b"}X\x01\x00\x00\x00a" + tensor(0, (1,) * 1000, (1,) * 1000) + b"s.",
    "sizes that are none": b"}X\x01\x00\x00\x00a" + tensor(0, ("x",), (1.5,)) + b"s.",
    "a tensor of no storage": call("torch._utils._rebuild_tensor_v2", 1, 0, (1,), (1,)) + b".",
    "a tensor given a state": tensor(0, (4,), (1,)) + b"(K\x01tb.",
    "a mapping given attributes": b"}}X\x05\x00\x00\x00itemsK\x01sb.",
    "a reference of another kind": b"(K\x01K\x02tQ.",
    "names that are none": b"}K\x01" + tensor(0, (4,), (1,)) + b"s.",
    "an unknown extension": b"\x82\x01.",
    "an empty stack": b"0000.",
    "no end": b"}" * 100,
    "eval": call("builtins.eval", "1") + b".",
    "a class of ours": call("diffuprompt.errors.CheckpointError") + b".",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("old", [False, True])
def test_hostile_pickles(state_file: Path, what: str, old: bool) -> None:
    data = HOSTILE[what]
    if old:
        buffer = io.BytesIO()
        torch.save({}, buffer, _use_new_zipfile_serialization=False)
        head = buffer.getvalue()
        end = head.index(b"}q\x00.") if b"}q\x00." in head else head.rindex(b"\x80\x02}")
        state_file.write_bytes(head[:end] + data)
    else:
        zipped(data, state_file)
    refused(state_file)


def test_many_views_of_one_storage(state_file: Path) -> None:
    one = b"".join(b"X\x08\x00\x00\x00%08d" % i + tensor(0, (4,), (1,)) for i in range(2000))
    zipped(b"}(" + one + b"u.", state_file)
    assert "larger than the file" not in refused(state_file)  # the file is as large itself
    zipped(b"}(" + one + b"u.", state_file)
    with zipfile.ZipFile(state_file, "a") as archive:
        archive.writestr("m/data/1", b"\0" * 2**22)
    big = STORAGE.replace(b"\x01\x00\x00\x000X", b"\x01\x00\x00\x001X").replace(
        b"K\x04t", b"J" + (2**20).to_bytes(4, "little") + b"t"
    )
    views = b"".join(
        b"X\x02\x00\x00\x00%02d" % i
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + big
        + b"".join(pickle.dumps(x, protocol=2)[2:-1] for x in (0, (2**20,), (1,), False, None))
        + b"tR"
        for i in range(50)
    )
    with zipfile.ZipFile(state_file, "w") as archive:
        archive.writestr("m/data.pkl", b"}(" + views + b"u.")
        archive.writestr("m/data/1", b"\0" * 2**22)
    with pytest.raises(CheckpointError, match="larger than the file"):
        read_pickle(state_file, "file")


def test_compressed_pickles_are_not_unpacked(state_file: Path) -> None:
    zipped(b"N" * 2**25 + b".", state_file, compression=zipfile.ZIP_DEFLATED)
    assert state_file.stat().st_size < 2**20
    assert "data.pkl is compressed" in refused(state_file)


def test_empty_and_foreign_zips(state_file: Path) -> None:
    for names in ((), ("m/data",), ("m/data.pkl/x",)):
        with zipfile.ZipFile(state_file, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        assert "data.pkl" in refused(state_file)


def test_modules_that_share_modules(tmp_path: Path) -> None:
    """2^40 paths lead to the same module."""
    deep = b"c__torch__\nM\n)\x81q\x00"
    for _ in range(40):
        deep += b"0c__torch__\nM\n)\x81}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ubq\x00"
    path = tmp_path / "m.pt"
    zipped(deep + b".", path)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="at most 100000 modules"):
        read_torchscript(path)
    assert time.monotonic() - start < MOST_S


@pytest.mark.parametrize("old", [False, True])
def test_mutated_bytes_of_a_state_dict(state_file: Path, old: bool) -> None:
    rng = random.Random(0)
    torch.save(openai_state(), state_file, _use_new_zipfile_serialization=not old)
    good = state_file.read_bytes()
    first = max(good.find(b"\x80\x02"), 0)
    for _ in range(40):
        data = bytearray(good)
        where = rng.choice((rng.randrange(len(data)), first + rng.randrange(6000)))
        kind = rng.randrange(3)
        if kind == 0:
            data[where] = rng.randrange(256)
        elif kind == 1:
            del data[where : where + rng.randrange(1, 50)]
        else:
            data = data[:where]
        state_file.write_bytes(data)
        assert str(state_file) in outcome(load_clip, state_file)


def test_mutated_bytes_of_an_archive(tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "m.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    good = path.read_bytes()
    for _ in range(80):
        data = bytearray(good)
        data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data if rng.randrange(4) else data[: rng.randrange(len(data))])
        for read in (read_torchscript, lambda p: computes(p, "gelu")):
            assert str(path) in outcome(lambda p, read=read: read(Path(p)), path)


def test_mutated_indices_of_shards(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.rename(folder / "model-1.safetensors")
    weights = {"a": "model-1.safetensors", "b": "model-1.safetensors"}
    index, rng = folder / "model.safetensors.index.json", random.Random(0)
    for _ in range(40):
        changed, what = mutated({"metadata": {"total_size": 3}, "weight_map": weights}, rng)
        index.write_text(json.dumps(changed))
        assert str(folder) in outcome(read_header, folder), what


# Paths


@pytest.mark.parametrize(
    "name",
    ["", ".", "~nobody-has-this-name/x", "a\0b", "x" * 5000, "../..", "a/../b", "a//b"],
)
def test_names_that_lead_nowhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for read in (load_clip, read_header):
        with pytest.raises(CheckpointError):
            read(name)


def test_a_file_that_cannot_be_read(state_file: Path, made: Path) -> None:
    torch.save(openai_state(), state_file)
    state_file.chmod(0)
    if os.access(state_file, os.R_OK):
        pytest.skip("this user reads everything")
    refused(state_file)


def test_folders_found_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(folder.parent))
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"clip/config\.json"):
        load_clip("clip")
