"""The tiny world and a cache of its own for every test of this room."""

from tests.shared_fixtures import own_cache, world

__all__ = ["own_cache", "world"]
