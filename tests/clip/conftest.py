"""What several tests of the towers share."""

import os
from pathlib import Path

import pytest

from diffuprompt.clip.load import find_local


@pytest.fixture(scope="session")
def photo_clip_lite() -> Path:
    """Folder of the small photograph tower; its absence is a failure in CI, else a skip."""
    folder = find_local("photo-clip-lite")
    if folder is None:
        message = "photo-clip-lite is not at hand; set DIFFUPROMPT_MODELS to the folder above it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
