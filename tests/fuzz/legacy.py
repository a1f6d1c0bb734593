"""Checkpoints of the methods' own repositories, damaged, and pickles that want to run something."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent
from tests.fuzz.mutate import damaged_bytes
from tests.hub import legacy
from tests.world import make_clip

from diffuprompt.checkpoints import load_clip
from diffuprompt.hub.legacy import read_legacy

METHODS = ("coop", "cocoop", "maple", "promptsrc", "vpt")
FILE = "model.pth.tar-5"
MARK = "ran.txt"


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Whole files by method, and files of odd content."""

    whole: dict[str, bytes]
    odd: list[bytes]


class Runs:
    """Asks a reader to run something when it is unpickled."""

    def __init__(self, call: Any, *words: Any) -> None:
        self.call, self.words = call, words

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.words


def material(folder: Path) -> Material:
    clip = load_clip(make_clip(folder / "clip"))
    whole = {}
    for method in METHODS:
        state = legacy.learned(method, clip) | legacy.frozen(method, clip)
        whole[method] = legacy.write(folder / method, state).read_bytes()
    ctx = torch.ones(2, 32)
    contents: list[Any] = [
        ctx, torch.tensor(1.0), 1, "x", None, [], {}, {"state_dict": None}, {"state_dict": {}},
        {"state_dict": {"ctx": torch.tensor(1.0)}}, {"state_dict": {1: ctx}},
        {"state_dict": {"ctx": ctx * float("nan")}}, {"state_dict": {"ctx": ctx.bool()}},
        {"state_dict": {"ctx": ctx.to(torch.complex64)}}, {"state_dict": {"ctx": [ctx]}},
        {"state_dict": {"ctx": torch.ones(0, 32)}}, {"state_dict": {"ctx": ctx}, "epoch": "x"},
        {"state_dict": {"ctx": ctx, "logit_scale": torch.tensor(float("nan"))}},
        {"state_dict": {"ctx": ctx, "logit_scale": torch.ones(3)}},
    ]  # fmt: skip
    odd = [_saved(content) for content in contents]
    odd += [_zipped(pickle.dumps(content, 2)) for content in _hostile(folder / MARK)]
    odd += [_zipped(data) for data in (b"", b".", b"\x80\x02.", b"]" + b"2" * 4000 + b".", _bomb())]
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    return Material(whole=whole, odd=[*odd, empty.getvalue(), b"", b"PK\x03\x04", bytes(100)])


def _hostile(mark: Path) -> list[Any]:
    made = [
        Runs(open, str(mark), "w"), Runs(eval, f"open({str(mark)!r}, 'w')"), Runs(print, "x"),
        {"state_dict": Runs(Path.touch, mark)}, Runs(getattr, "x", "upper"),
    ]  # fmt: skip
    return made


def _bomb() -> bytes:
    """Return a pickle of lists of lists that share what they hold: 2^60 items to whoever walks."""
    code = b"\x80\x02]q\x00"
    for k in range(60):
        code += b"]q" + bytes([k + 1]) + b"(h" + bytes([k]) + b"h" + bytes([k]) + b"e"
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict" + code[2:] + b"s."


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return stream.getvalue()


def examples(made: Material) -> st.SearchStrategy[Example]:
    def broken(method: str) -> st.SearchStrategy[Example]:
        data = st.one_of(damaged_bytes(made.whole[method]), _repacked(made.whole[method]))
        return data.map(lambda data: Example(what=(method, data), names=(FILE,)))

    whole = st.sampled_from(METHODS).map(
        lambda method: Example(what=(method, made.whole[method]), is_right=True)
    )
    odd = st.tuples(st.sampled_from(METHODS), st.sampled_from(made.odd)).map(
        lambda pair: Example(what=pair, names=(FILE,), is_wrong=pair[1] not in made.odd[16:17])
    )
    return st.one_of(st.sampled_from(METHODS).flatmap(broken), odd, whole)


@st.composite
def _repacked(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return the file with damage inside its pickle or a storage, the zip around it intact."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(stream, "w") as new:
        names = old.namelist()
        chosen = draw(st.sampled_from([name for name in names if "data" in name]))
        for name in names:
            data = old.read(name)
            new.writestr(name, draw(damaged_bytes(data)) if name == chosen else data)
    return stream.getvalue()


def check(made: Material, example: Example, folder: Path) -> None:
    method, data = example.what
    path = folder / FILE
    path.write_bytes(data)
    found = read_legacy(path, method)
    for name, tensor in found.tensors.items():
        if tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
            raise Silent(f"{name}: {tensor.dtype}, or not finite")
    if found.logit_scale is not None and not -20 < found.logit_scale < 20:
        raise Silent(f"logit_scale {found.logit_scale}")


GROUP = Group(name="legacy", material=material, examples=examples, check=check)
