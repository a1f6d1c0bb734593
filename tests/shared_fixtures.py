"""The tiny world, made once a session, a cache and settings that no other test sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.world import make_clip, make_pictures


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clip`` and ``colours``; nothing changes it."""
    folder = tmp_path_factory.mktemp("world")
    make_clip(folder / "clip")
    make_pictures(folder / "colours")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIFFUPROMPT_CONFIG", str(tmp_path / "config"))
