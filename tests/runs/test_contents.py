"""Hashes of files: never stale, and read once."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from diffuprompt.errors import DataError
from diffuprompt.runs import contents as module
from diffuprompt.runs.contents import Contents


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is old enough to be remembered."""
    monkeypatch.setattr(module, "FRESH_S", -1.0)
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has been read."""
    seen: list[object] = []
    digest = module._digest
    monkeypatch.setattr(module, "_digest", lambda group: (seen.append(group), digest(group))[1])
    return seen


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_hash_is_of_the_bytes_and_is_remembered(
    old: Path, tmp_path: Path, reads: list[object]
) -> None:
    memory = tmp_path / "memory.sqlite"
    assert Contents(memory).hash(old) == sha(b"one")
    assert Contents(memory).hash(old) == sha(b"one")  # another process, so to speak
    assert len(reads) == 1
    assert Contents(memory, rehash=True).hash(old) == sha(b"one")
    assert len(reads) == 2


def test_a_remembered_hash_that_has_changed_is_not_taken(
    old: Path, tmp_path: Path, reads: list[object]
) -> None:
    """One flipped bit would be another data set."""
    memory = tmp_path / "memory.sqlite"
    for wrong in ("0" * 64, sha(b"one"), "", "x", None, 7):  # the second: without its seal
        Contents(memory).hash(old)
        with sqlite3.connect(memory) as database:
            database.execute("UPDATE files SET digest = ?", (wrong,))
        reads.clear()
        assert Contents(memory).hash(old) == sha(b"one")
        assert reads
    data = memory.read_bytes()
    for place in range(0, 100, 7):
        flipped = bytearray(data)
        flipped[place] ^= 1
        memory.write_bytes(flipped)
        assert Contents(memory).hash(old) == sha(b"one")


def test_several_files_are_hashed_behind_each_other(old: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.bin"
    other.write_bytes(b"two")
    found = Contents(tmp_path / "m").hash_all([[old, other], [other, old], [old]])
    assert found == [sha(b"onetwo"), sha(b"twoone"), sha(b"one")]


def test_other_bytes_of_equal_size_and_time_are_seen(old: Path, tmp_path: Path) -> None:
    """As `cp -p` and archives make them: inode or ctime differs, whatever the times say."""
    contents = Contents(tmp_path / "m")
    before, stat = contents.hash(old), old.stat()
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"two")
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    shutil.copy2(copy, old)  # keeps the times
    assert (old.stat().st_size, old.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert contents.hash(old) == sha(b"two") != before
    copy.write_bytes(b"six")
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(copy, old)
    assert Contents(tmp_path / "m").hash(old) == sha(b"six")


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, reads: list[object]
) -> None:
    """It may change again within one tick of its times."""
    path = tmp_path / "new.bin"
    path.write_bytes(b"one")
    assert time.time() - path.stat().st_mtime < module.FRESH_S
    for _ in range(2):
        Contents(tmp_path / "m").hash(path)
    assert len(reads) == 2


def test_a_memory_that_cannot_be_used_costs_time_only(old: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"no database at all, but long enough to be one" * 30)
    for _ in range(2):
        assert Contents(tmp_path / "m").hash(old) == sha(b"one")
    blocked = tmp_path / "file" / "inside" / "m"
    (tmp_path / "file").write_bytes(b"")
    assert Contents(blocked).hash(old) == sha(b"one")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.bin: cannot be read .* restore the file"):
        Contents(tmp_path / "m").hash(tmp_path / "gone.bin")
