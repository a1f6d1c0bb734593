"""A cache that no other test sees, and never the user's."""

from tests.shared_fixtures import own_cache

__all__ = ["own_cache"]
