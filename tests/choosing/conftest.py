"""The tiny world, and a cache that no other test sees."""

from tests.shared_fixtures import own_cache, world

__all__ = ["own_cache", "world"]
