"""Checked reading of the fields of a ``preprocessor_config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffuprompt.errors import CheckpointError

FAMILY = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
MOST = 1e6  # of a factor, a mean or a standard deviation
LEAST = 1e-6
MOST_SIDE = 2**13  # pixels; a picture is resized to this before it is cropped
LEGACY = ("CLIPFeatureExtractor",)


class FieldReader:
    """Collects every problem of one file, so that `finish` can report them at once."""

    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        self._fields = fields
        self._source = source
        self._problems: list[str] = []

    def problem(self, name: str, expected: str, got: object) -> None:
        """Note that field ``name`` is not what was expected."""
        self._problems.append(f"{name}: expected {expected}, got {ascii(got)[:120]}")

    def finish(self) -> None:
        """Raise `CheckpointError` if any field had a problem."""
        if self._problems:
            lines = "\n  ".join(self._problems)
            raise CheckpointError(f"{self._source}: unsupported preprocessing\n  {lines}")

    def processor_type(self) -> None:
        """Check that the processor is CLIP's and asks for nothing that CLIP's does not do."""
        for name in ("image_processor_type", "feature_extractor_type"):
            value = self._fields.get(name)
            if value is not None and value not in FAMILY + LEGACY:
                self.problem(name, f"one of {', '.join(FAMILY + LEGACY)}", value)
        for name in ("do_pad", "use_square_size"):
            if self._fields.get(name):
                self.problem(name, "false or absent", self._fields[name])

    def flag(self, name: str, default: bool) -> bool:
        """Read a boolean."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            self.problem(name, "true or false", value)
            return default
        return value

    def positive(self, name: str, default: float) -> float:
        """Read a number above zero."""
        value = self._get(name, default)
        if not _is_number(value) or value < LEAST:
            self.problem(name, "a number above 0", value)
            return default
        return float(value)

    def triple(
        self, name: str, default: tuple[float, float, float], positive: bool = False
    ) -> tuple[float, float, float]:
        """Read three numbers; a single number stands for all three channels."""
        value = self._get(name, default)
        row = [value] * 3 if _is_number(value) else value
        good = isinstance(row, list | tuple) and len(row) == 3 and all(map(_is_number, row))
        if not good or (positive and min(row) < LEAST):
            self.problem(name, "3 numbers above 0" if positive else "3 numbers", value)
            return default
        return float(row[0]), float(row[1]), float(row[2])

    def resample(self) -> int:
        """Read Pillow's filter number, 0 to 5."""
        value = self._get("resample", 3)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 5:
            self.problem("resample", "a Pillow filter number from 0 to 5", value)
            return 3
        return value

    def resize_size(self) -> tuple[int | None, tuple[int, int] | None]:
        """Read ``size`` as (shortest edge, None) or (None, (height, width))."""
        value = self._get("size", 224)
        if _is_side(value):
            return value, None
        if isinstance(value, Mapping):
            sides = {key: side for key, side in value.items() if side is not None}
            if set(sides) == {"shortest_edge"} and _is_side(sides["shortest_edge"]):
                return sides["shortest_edge"], None
            if set(sides) == {"height", "width"} and all(map(_is_side, sides.values())):
                return None, (sides["height"], sides["width"])
        self.problem("size", "shortest_edge, or height and width, in pixels", value)
        return 224, None

    def crop_size(self) -> tuple[int, int]:
        """Read ``crop_size``: one side, or height and width."""
        value = self._get("crop_size", 224)
        if _is_side(value):
            return value, value
        if isinstance(value, Mapping):
            sides = {key: side for key, side in value.items() if side is not None}
            if set(sides) == {"height", "width"} and all(map(_is_side, sides.values())):
                return sides["height"], sides["width"]
        self.problem("crop_size", "a side, or height and width, in pixels", value)
        return 224, 224

    def _get(self, name: str, default: Any) -> Any:
        value = self._fields.get(name)
        return default if value is None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_SIDE
