"""One trained run with a generator and one without, made once a session; tests copy them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.shared_fixtures import own_cache
from tests.world import make_clip, make_pictures

from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job

__all__ = ["own_cache"]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``clip``, ``colours`` and the runs ``coop`` and ``diffusion``."""
    folder = tmp_path_factory.mktemp("hub")
    make_clip(folder / "clip")
    make_pictures(folder / "colours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUPROMPT_CACHE", str(folder / "cache"))
        for name, learner, generator in (
            ("coop", "coop", "none"),
            ("diffusion", "cocoop", "diffusion"),
        ):
            job = JobConfig(
                data=str(folder / "colours"),
                backbone=str(folder / "clip"),
                learner=learner,
                generator=generator,
                shots=2,
                workers=0,
                overrides=("epochs=2", "views=1", "fit.epochs=2"),
                out=folder / name,
            )
            train_job(job)
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
