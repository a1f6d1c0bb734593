from __future__ import annotations

import pytest
from tests.contract.generators import shrink_networks


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Denoising networks are small here, to be fast; one test builds the real ones."""
    shrink_networks(monkeypatch)
