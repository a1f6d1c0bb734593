"""Pickles of plain data are read, and whatever would run something is refused before it runs."""

from __future__ import annotations

import os
import pickle
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffuprompt.checkpoints import read_plain_pickle
from diffuprompt.errors import DataError

PLAIN = [{"id": 1, "texts": ["a", "caf\xe9", ""], "box": (1.5, -2), "none": None, "yes": True}]


def written(folder: Path, data: bytes) -> Path:
    file = folder / "refs(unc).p"
    file.write_bytes(data)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_plain_pickle(file, "list of references")
    assert str(caught.value).startswith(f"{file}: not a readable list of references (")
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(tmp_path: Path, protocol: int) -> None:
    file = written(tmp_path, pickle.dumps(PLAIN, protocol))
    assert read_plain_pickle(file, "list") == PLAIN


def test_texts_of_python_2(tmp_path: Path) -> None:
    data = b"(lp0\nS'caf\\xe9'\np1\naU\x04caf\xe9q\x02aVcaf\\u0119\np3\naL5L\na."
    assert read_plain_pickle(written(tmp_path, data), "list") == [
        "caf\xe9",
        "caf\xe9",
        "caf\u0119",
        5,
    ]


class Runs:
    """Pickles to the call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    harmful = Runs(os.system, f"touch {mark}")
    data = pickle.dumps([{"ref_id": 1}, harmful], protocol)
    file = written(tmp_path, data)
    assert f"it names {os.name}.system" in refusal(file)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists(), "the pickle is harmless, and the test proves nothing"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"(S'touch MARK'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch MARK'\no.",  # OBJ
        b"cos\nsystem\n(S'touch MARK'\ntR.",  # REDUCE
        b"\x8c\x02os\x8c\x06system\x93\x8c\ntouch MARK\x85R.",  # STACK_GLOBAL
        b"cbuiltins\nexec\n(S'import os'\ntR.",
    ],
)
def test_every_way_to_a_name(tmp_path: Path, opcodes: bytes, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(written(tmp_path, opcodes))
    assert not (tmp_path / "MARK").exists()


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), np.zeros(2), np.float64(1), Path("a"), complex(1), torch.float32]
)
def test_no_class_is_known(tmp_path: Path, value: Any) -> None:
    assert "it names " in refusal(written(tmp_path, pickle.dumps([value])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        pickle.dumps(PLAIN)[:-5],
        b"P1\n.",  # a reference to something outside
        b"S'1'\nQ.",  # the same, binary
        b"(S'a'\nS'b'\ntR.",  # a call of what is no function
        b"}(lI1\ns.",  # a list as a key
        b"S'a'\nS'b'\nb.",  # attributes of a text
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a buffer of 2^63 bytes
        b"g99\n.",
    ],
)
def test_what_is_malformed(tmp_path: Path, data: bytes) -> None:
    refusal(written(tmp_path, data))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "refs(unc).p")


def test_time_is_bounded(tmp_path: Path) -> None:
    """Each tuple holds the one before twice; as a key its hash would take for ever."""
    nested = b"I1\nI2\n\x86" + b"".join(b"p%d\n0g%d\ng%d\n\x86" % (i, i, i) for i in range(60))
    started = time.monotonic()
    refusal(written(tmp_path, b"}" + nested + b"I1\ns."))
    assert time.monotonic() - started < 5
