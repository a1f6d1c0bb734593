"""OpenAI's files: read weights-only from TorchScript and plain archives; hostile ones never run."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.clip import tiny
from tests.world import make_pictures
from torch import Tensor, nn

from diffuprompt.checkpoints import openai_archive
from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.hf import load_hf
from diffuprompt.checkpoints.keys import openai_table
from diffuprompt.checkpoints.load import load_clip
from diffuprompt.checkpoints.openai_archive import load_openai
from diffuprompt.checkpoints.torchscript import is_torchscript, read_torchscript
from diffuprompt.clip.model import Clip
from diffuprompt.data.transforms import OPENAI_MEAN, OPENAI_STD
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.jobs import prepared as preparing
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import prepare

pytest.importorskip("transformers")

# heads are width / 64 in these files, and MLPs four times as wide
TEXT = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256}
VISION = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The same weights as read from a Hugging Face folder."""
    model = tiny.oracle(TEXT, VISION)
    return load_hf(tiny.write_folder(model, tmp_path_factory.mktemp("hf")))


@pytest.fixture(scope="module")
def state(reference: Clip) -> dict[str, Tensor]:
    table = openai_table(reference.config)
    parts = [table[k].split(t) for k, t in reference.state_dict().items()]
    tensors = {name: tensor for part in parts for name, tensor in part.items()}
    sizes = {"input_resolution": 24, "context_length": 20, "vocab_size": tiny.VOCABULARY}
    return tensors | {name: torch.tensor(value) for name, value in sizes.items()}


DESCRIPTION = {
    "model_cfg": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 24, "layers": 2, "width": 128, "patch_size": 8},
        "text_cfg": {
            **{"context_length": 20, "vocab_size": tiny.VOCABULARY},
            **{"width": 64, "heads": 1, "layers": 3},
        },
    },
    "preprocess_cfg": {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)},
}


def describe(folder: Path) -> Path:
    """Put beside a file what it does not say of itself: OpenAI's conventions."""
    (folder / "open_clip_config.json").write_text(json.dumps(DESCRIPTION))
    return folder


class Node(nn.Module):
    """A tree of modules that holds ``tensors`` under their dotted names."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            head, _, tail = name.partition(".")
            if tail:
                children.setdefault(head, {})[tail] = tensor
            elif tensor.is_floating_point():
                self.register_parameter(head, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(head, tensor)
        for head, below in children.items():
            self.add_module(head, Node(below))
        self.names = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture
def archive(state: dict[str, Tensor], tmp_path: Path) -> Path:
    """A TorchScript archive with OpenAI's names in half precision, its vocabulary beside it."""
    halves = {k: t.half() if t.is_floating_point() else t for k, t in state.items()}
    path = tmp_path / "ViT-tiny.pt"
    torch.jit.save(torch.jit.script(Node(halves)), path)
    tiny.bpe_file(describe(tmp_path))
    return path


def test_torchscript_archive(archive: Path, reference: Clip) -> None:
    assert is_torchscript(archive)
    clip = load_clip(archive)
    assert clip.config == reference.config
    assert clip.preprocess == reference.preprocess
    assert not any(p.requires_grad for p in clip.parameters())
    want = {k: t.half().float() for k, t in reference.state_dict().items()}
    got = clip.state_dict()
    assert got.keys() == want.keys()
    assert all(torch.equal(got[k], want[k]) for k in want)


def test_traced_archive_with_masks(state: dict[str, Tensor], tmp_path: Path) -> None:
    model = Node(state)
    block = model.get_submodule("transformer.resblocks.0")
    block.register_buffer("attn_mask", torch.zeros(20, 20))
    path = tmp_path / "traced.pt"
    torch.jit.save(torch.jit.trace(model, torch.zeros(1)), path)
    tensors = read_torchscript(path)
    assert tensors.keys() == state.keys() | {"transformer.resblocks.0.attn_mask"}
    assert all(torch.equal(tensors[k], t) for k, t in state.items())
    load_openai(path, vocabulary=tiny.bpe_file(describe(tmp_path)))


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_state_dict(
    state: dict[str, Tensor], reference: Clip, tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "plain.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    (describe(tmp_path) / "tokenizer.json").write_bytes(tiny.tokenizer().to_bytes())
    clip = load_openai(path)
    want, got = reference.state_dict(), clip.state_dict()
    assert all(torch.equal(got[k], want[k]) for k in want)
    pixels = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clip.vision(pixels), reference.vision(pixels))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes of every storage that is read from a zip, by name."""
    found: dict[str, int] = {}
    original = zipfile.ZipFile.read

    def spy(self: zipfile.ZipFile, name: Any, *rest: Any) -> bytes:
        data = original(self, name, *rest)
        found[getattr(name, "filename", name)] = len(data)
        return data

    monkeypatch.setattr(zipfile.ZipFile, "read", spy)
    return found


@pytest.mark.parametrize("kind", ["script", "plain"])
def test_peeking_reads_no_weight(
    kind: str, archive: Path, state: dict[str, Tensor], read: dict[str, int], tmp_path: Path
) -> None:
    path = archive
    if kind == "plain":
        path = tmp_path / "plain.pt"
        torch.save(state, path)
    seen = read_header(str(path))
    # the scale and three sizes, of at most eight bytes; nothing that is stored as an array
    assert 0 < len(read) <= 4
    assert max(read.values()) <= 8
    clip = load_clip(path)
    assert seen is not None
    assert seen.config == clip.config
    assert seen.scale == pytest.approx(float(clip.scale), rel=1e-6)


def test_options_are_refused_before_an_archive_is_loaded(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: object, **rest: object) -> None:
        raise AssertionError("the weights were loaded")

    pictures = make_pictures(tmp_path / "colours")
    values: Any = {"data": str(pictures), "backbone": str(archive), "shots": 1, "workers": 0}
    values |= {"learner": "maple", "overrides": ("depth=9",), "device": "cpu"}
    monkeypatch.setattr(preparing, "load_clip", load)
    with pytest.raises(ConfigError, match=r"learner\.depth: expected at most 3, .* got 9"):
        prepare(JobConfig(**values))
    values["overrides"] = ("depth=2",)
    prepared = prepare(JobConfig(**values))
    with pytest.raises(AssertionError, match="the weights were loaded"):
        prepared.load()


def test_torchs_older_format_is_peeked_at_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    tiny.bpe_file(describe(tmp_path))
    path = tmp_path / "x.pt"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    seen, clip = read_header(str(path)), load_clip(path)
    assert (seen.config, seen.preprocess) == (clip.config, clip.preprocess)
    assert seen.scale == pytest.approx(float(clip.scale), rel=1e-6)
    assert (seen.weights_hash, seen.identity) == (clip.weights_hash, clip.identity)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        read_header(str(path))
    torch.save({**state, "visual.layer1.0.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="ResNet"):
        read_header(str(path))


def test_the_scale_of_a_folder_with_torchs_weights(
    reference: Clip, read: dict[str, int], tmp_path: Path
) -> None:
    model = tiny.oracle(TEXT, VISION)
    folder = tiny.write_folder(model, tmp_path / "hf")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    seen = read_header(str(folder))
    assert max(read.values()) <= 8
    assert seen is not None
    assert seen.config == reference.config
    assert seen.scale == pytest.approx(float(reference.scale), rel=1e-6)


def test_strict_keys(state: dict[str, Tensor], tmp_path: Path) -> None:
    tiny.bpe_file(describe(tmp_path))
    wrong = {k: t for k, t in state.items() if k != "ln_final.bias"} | {"more": torch.zeros(1)}
    torch.save(wrong, tmp_path / "wrong.pt")
    with pytest.raises(CheckpointError, match=r"(?s)wrong\.pt.*ln_final\.bias.*tensor more"):
        load_openai(tmp_path / "wrong.pt")


def test_other_models_are_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({**state, "visual.layer1.0.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="ResNet"):
        load_openai(path)
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"no OpenAI CLIP.*visual\.conv1\.weight"):
        load_openai(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        load_openai(path)


# The vocabulary


def test_vocabulary_of_another_size(archive: Path) -> None:
    short = archive.parent / "short.txt.gz"
    tiny.bpe_file(archive.parent).rename(short)
    tiny.MERGES.pop()
    try:
        other = tiny.bpe_file(archive.parent)
    finally:
        tiny.MERGES.append("do g</w>")
    with pytest.raises(CheckpointError, match="token_embedding"):
        load_openai(archive, vocabulary=other)
    load_openai(archive, vocabulary=short)


def test_vocabulary_of_an_installed_package(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (archive.parent / "bpe_simple_vocab_16e6.txt.gz").rename(
        package / "bpe_simple_vocab_16e6.txt.gz"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    importlib.invalidate_caches()
    assert load_openai(archive).tokenizer.vocab_size == tiny.VOCABULARY
    assert "open_clip" not in sys.modules


def test_no_vocabulary_says_what_to_do(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive.parent / "bpe_simple_vocab_16e6.txt.gz").unlink()
    monkeypatch.setattr(openai_archive, "PACKAGES", ())
    monkeypatch.setattr(openai_archive, "HUB_IDS", ("nobody/nothing",))
    with pytest.raises(CheckpointError, match=r"no vocabulary.*put.*tokenizer\.json.*open_clip"):
        load_openai(archive)
    with pytest.raises(CheckpointError, match="no such vocabulary"):
        load_openai(archive, vocabulary=Path("nowhere.gz"))


# Hostile and damaged files


class Evil:
    """Unpickling this makes a folder: the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def rewrite(archive: Path, **parts: bytes) -> Path:
    """Copy ``archive`` with some of its files replaced (``data.pkl`` as ``data_pkl``)."""
    path = archive.with_name("changed.pt")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            name = info.filename.partition("/")[2].replace(".", "_")
            new.writestr(info.filename, parts.get(name, old.read(info)))
    return path


def test_the_marker_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def test_hostile_torchscript_never_runs(archive: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile = rewrite(archive, data_pkl=pickle.dumps(Evil(marker), protocol=2))
    assert is_torchscript(hostile)
    with pytest.raises(CheckpointError, match="mkdir is not allowed"):
        load_openai(hostile)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_plain_file_never_runs(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pt"
    torch.save({"a": Evil(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_openai(path)
    path.write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_openai(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins eval", "torch._utils _rebuild_tensor", "torch load", "copyreg _reconstructor"],
)
def test_no_other_name_is_resolved(archive: Path, name: str) -> None:
    module, _, attribute = name.partition(" ")
    data = f"c{module}\n{attribute}\n.".encode()
    with pytest.raises(CheckpointError, match=rf"{attribute} is not allowed"):
        load_openai(rewrite(archive, data_pkl=data))


def test_tensors_outside_their_storage_are_refused(tmp_path: Path) -> None:
    model = torch.jit.script(Node({"w": torch.arange(6.0)}))
    buffer = io.BytesIO()
    torch.jit.save(model, buffer)
    path = tmp_path / "m.pt"
    path.write_bytes(buffer.getvalue())
    assert torch.equal(read_torchscript(path)["w"], torch.arange(6.0))
    with zipfile.ZipFile(path) as old:
        pkl = next(old.read(n) for n in old.namelist() if n.endswith("/data.pkl"))
    assert pkl.count(b"K\x06") == 2  # values in the storage, size of the tensor
    first = pkl.replace(b"K\x06", b"K\x07", 1)
    with pytest.raises(CheckpointError, match="has 6 values, not 7"):
        read_torchscript(rewrite(path, data_pkl=first))
    second = pkl[::-1].replace(b"\x06K", b"\x07K", 1)[::-1]
    with pytest.raises(CheckpointError, match="not a readable"):
        read_torchscript(rewrite(path, data_pkl=second))


def test_truncated_files(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 30):
        path = tmp_path / "cut.pt"
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            load_openai(path)


def test_a_module_inside_itself_is_refused(archive: Path) -> None:
    # a bag whose attribute "m" is the bag itself
    data = b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00mh\x00sb."
    with pytest.raises(CheckpointError, match="contains itself"):
        load_openai(rewrite(archive, data_pkl=data))
