"""How much memory the caches of one job may take together."""

from __future__ import annotations


class Budget:
    """Bytes that caches share; first come, first served, and nothing is given back.

    What is kept is never dropped: images are visited in cycles, where the usual policies of caches
    keep what is needed last.
    """

    def __init__(self, mib: int) -> None:
        self.total, self.used = mib * 2**20, 0

    def take(self, nbytes: int) -> bool:
        """Reserve ``nbytes`` and return True, or return False where they do not fit."""
        fits = self.used + nbytes <= self.total
        self.used += nbytes * fits
        return fits
