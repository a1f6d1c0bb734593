"""The cache: under its budget, the least recently used go first, and damage is computed again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from diffuprompt.errors import ConfigError
from diffuprompt.runs.cache import Cache, cache_budget, cache_root
from diffuprompt.runs.contents import Contents

NUMBERS = 1000  # of one file, in float32


def tensor(seed: int) -> torch.Tensor:
    return torch.randn(10, NUMBERS // 10, generator=torch.Generator().manual_seed(seed))


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.safetensors"))


def test_what_is_written_is_read_whole_and_by_rows(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("features", "k", {"x": tensor(0)})
    for reader in (cache, Cache(tmp_path)):
        whole = reader.read("features", "k", "x")
        assert whole is not None
        assert torch.equal(whole, tensor(0))
        for rows in ([3], [9, 0], [2, 3, 4], [4, 4, 1]):
            part = reader.read("features", "k", "x", rows)
            assert part is not None
            assert torch.equal(part, tensor(0)[rows])
    assert cache.read("features", "other", "x") is None
    assert cache.read("grids", "k", "x") is None


def test_the_least_recently_used_go_when_the_budget_is_exceeded(tmp_path: Path) -> None:
    cache = Cache(tmp_path, budget=4 * (4 * NUMBERS + 300))
    for i in range(4):
        cache.write(("features", "grids")[i % 2], str(i), {"x": tensor(i)})
        os.utime(cache.path(("features", "grids")[i % 2], str(i)), (i, i))
    assert cache.read("features", "0", "x") is not None  # the oldest, but used now
    cache.write("features", "4", {"x": tensor(4)})
    there = {path.stem for path in tmp_path.rglob("*.safetensors")}
    assert "0" in there
    assert "4" in there
    assert "1" not in there
    for i in range(5, 40):
        cache.write("features", str(i), {"x": tensor(i)})
        assert size(tmp_path) <= cache.budget


def test_files_of_another_process_count(tmp_path: Path) -> None:
    budget = 3 * (4 * NUMBERS + 300)
    for i in range(6):
        Cache(tmp_path, budget=budget).write("features", str(i), {"x": tensor(i)})
    assert size(tmp_path) <= budget


def test_a_file_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, budget=100)
    cache.write("features", "k", {"x": tensor(0)})
    assert cache.read("features", "k", "x") is None


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "another"])
def test_damage_is_said_and_computed_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    Cache(tmp_path).write("features", "k", {"x": tensor(0)})
    path = Cache(tmp_path).path("features", "k")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-8]
    elif damage == "empty":
        data = bytearray()
    elif damage == "bit":
        data[-5] ^= 1  # a number: nothing else would notice
    else:
        Cache(tmp_path).write("features", "other", {"x": tensor(1)})
        data = bytearray(Cache(tmp_path).path("features", "other").read_bytes())
        data[-5] ^= 1
    path.write_bytes(data)
    assert Cache(tmp_path).read("features", "k", "x", [0]) is None
    assert str(path) in caplog.text
    assert "computed again" in caplog.text
    assert not path.exists()


def test_the_root_and_the_budget_are_what_the_user_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("DIFFUPROMPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "diffuprompt"
    monkeypatch.setenv("DIFFUPROMPT_CACHE_GIB", "0.5")
    assert cache_budget() == 2**29
    for wrong in ("none", "-1", "0", "inf", "nan"):
        monkeypatch.setenv("DIFFUPROMPT_CACHE_GIB", wrong)
        with pytest.raises(ConfigError, match=f"DIFFUPROMPT_CACHE_GIB: .*'{wrong}'"):
            cache_budget()


@pytest.mark.parametrize("there", [0, 1, 2])
def test_folders_of_the_cache_are_for_the_user_alone(tmp_path: Path, there: int) -> None:
    """``there`` folders exist and stay as they are; a wide umask changes nothing."""
    root = tmp_path / "a" / "b" / "cache"
    made = [tmp_path / "a", tmp_path / "a" / "b"][:there]
    before = os.umask(0o002)
    try:
        for folder in made:
            folder.mkdir()
        Cache(root).write("features", "k", {"x": tensor(0)})
        Contents(root / "contents.sqlite").hash(root / "features" / "k.safetensors")
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b", root, root / "features"):
        assert folder.stat().st_mode & 0o777 == (0o775 if folder in made else 0o700)
    assert (root / "contents.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["DIFFUPROMPT_CACHE", "XDG_CACHE_HOME"])
def test_the_users_home_may_be_written_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.delenv("DIFFUPROMPT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "~/mine")
    assert cache_root().is_relative_to(tmp_path / "mine")
    monkeypatch.setenv(name, "~nobody-by-this-name/x")
    with pytest.raises(ConfigError, match="no such home folder; set DIFFUPROMPT_CACHE"):
        cache_root()
