"""Shifted copies of test pictures: seeded corruptions and styles, in five severities."""

from diffuprompt.data.shift.kinds import SEVERITIES, SHIFTS, check_kind, shifted
from diffuprompt.data.shift.writing import shifted_png, write_shifted

__all__ = ["SEVERITIES", "SHIFTS", "check_kind", "shifted", "shifted_png", "write_shifted"]
