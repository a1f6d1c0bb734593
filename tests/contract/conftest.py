"""The three axes of the contract: towers, learners, generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.contract.cases import CASES, PROMPTED, build
from tests.contract.generators import shrink_networks
from tests.contract.probe import METHOD
from tests.contract.towers import NAMES, TINY, pictures, tower

from diffuprompt.checkpoints.load import ASSETS, BUNDLED, PHOTO
from diffuprompt.clip.model import Clip
from diffuprompt.data.images import ImageBatch
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS

TOWERS = (*TINY, PHOTO)
AS_RUN = (*TOWERS, BUNDLED)  # a plain ViT as the first tiny one, so not in float64 too


def _folder(name: str, request: pytest.FixtureRequest) -> Path | None:
    if name in TINY:
        return None
    if name == PHOTO:
        shared: Path = request.getfixturevalue("shared_models")
        return shared / PHOTO
    return ASSETS / BUNDLED


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is a learner here, and diffusion networks are small, to be fast."""
    monkeypatch.setitem(METHODS, METHOD.name, METHOD)
    shrink_networks(monkeypatch)


@pytest.fixture(params=TOWERS)
def clip(request: pytest.FixtureRequest) -> Clip:
    """Every tower, in float64."""
    return tower(request.param, torch.float64, _folder(request.param, request))


@pytest.fixture(params=AS_RUN)
def clip32(request: pytest.FixtureRequest) -> Clip:
    """Every tower as users run it, in float32."""
    return tower(request.param, torch.float32, _folder(request.param, request))


@pytest.fixture(params=CASES)
def learner(request: pytest.FixtureRequest, clip: Clip) -> Learner:
    """Every learner in every configuration, moved away from where it starts."""
    return build(request.param, clip, moved=True)


@pytest.fixture(params=PROMPTED)
def prompted(request: pytest.FixtureRequest, clip: Clip) -> Learner:
    """Every learner that has something to generate."""
    return build(request.param, clip, moved=True)


@pytest.fixture(params=[case for case in CASES if case != "coop-per-class"])
def free(request: pytest.FixtureRequest, clip: Clip) -> Learner:
    """Every learner that scores any list of classes."""
    return build(request.param, clip, moved=True)


@pytest.fixture
def images(clip: Clip) -> ImageBatch:
    """Three pictures of the tower's size; two where pictures are large."""
    return pictures(clip, 3 if clip.name in TINY else 2)


@pytest.fixture
def classes() -> Classes:
    """Names of 1 to 10 tokens."""
    return Classes(NAMES)


@pytest.fixture
def untouched(clip: Clip) -> Iterator[None]:
    """The tower's weights are the same bits after the test."""
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    yield
    for name, tensor in clip.state_dict().items():
        assert torch.equal(tensor, before[name]), name
