"""Shifted copies of test pictures: seeded corruptions and styles, in five severities."""

from diffuprompt.data.shift.kinds import SEVERITIES, SHIFTS, check_kind, shifted
from diffuprompt.data.shift.writing import write_shifted

__all__ = ["SEVERITIES", "SHIFTS", "check_kind", "shifted", "write_shifted"]
