"""The tiny world, a cache that no other test sees, and networks of the size of a test."""

import pytest
from tests.jobs.killing import small_networks
from tests.shared_fixtures import own_cache, world

from diffuprompt.diffusion.amed_fit import AmedFit
from diffuprompt.diffusion.transformer import TransformerConfig

__all__ = ["own_cache", "world"]


@pytest.fixture
def small_networks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same small networks here as in the processes that are killed."""
    monkeypatch.setattr(TransformerConfig, "preset", TransformerConfig.preset)
    monkeypatch.setattr(AmedFit.__init__, "__kwdefaults__", dict(AmedFit.__init__.__kwdefaults__))
    small_networks()
