"""One trained run with a generator and one without, made once a session; tests copy them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.trained import trained_world
from tests.shared_fixtures import own_cache

__all__ = ["own_cache"]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``clip``, ``colours`` and the runs ``coop`` and ``diffusion``."""
    folder = tmp_path_factory.mktemp("hub")
    trained_world(folder, scored=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUPROMPT_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture
def coop(place: Path, tmp_path: Path) -> Path:
    """A copy of the artifact without a generator."""
    shutil.copytree(place / "coop" / "artifact", tmp_path / "coop")
    return tmp_path / "coop"


@pytest.fixture
def diffusion(place: Path, tmp_path: Path) -> Path:
    """A copy of the artifact with a generator."""
    shutil.copytree(place / "diffusion" / "artifact", tmp_path / "diffusion")
    return tmp_path / "diffusion"
