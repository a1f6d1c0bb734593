"""The vocabulary of the scenes world, and the combinations that pre-training never shows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from diffuprompt.errors import ConfigError, near_miss

Style = Literal["clean", "sketch", "noisy", "inverted", "painted"]

SHAPES: tuple[str, ...] = (
    "circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent", "pentagon",
    "hexagon", "diamond", "arrow", "oval", "semicircle", "trapezoid", "bolt", "flower", "drop",
    "house", "crown",
)  # fmt: skip
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 127, 14),
    "yellow": (245, 212, 30),
    "green": (44, 150, 44),
    "cyan": (40, 205, 215),
    "blue": (35, 90, 220),
    "purple": (125, 50, 170),
    "pink": (255, 130, 190),
    "brown": (125, 75, 35),
    "gray": (128, 128, 128),
    "white": (248, 248, 248),
    "black": (20, 20, 20),
}
FILLS: tuple[str, ...] = ("solid", "striped", "dotted", "outlined")
SIZES: tuple[str, ...] = ("small", "medium", "large")
STYLES: tuple[Style, ...] = ("clean", "sketch", "noisy", "inverted", "painted")

_COLOUR_NAMES = tuple(COLOURS)


class Look(NamedTuple):
    """What an object looks like, apart from its size and place."""

    shape: str
    colour: str
    fill: str = "solid"

    @property
    def name(self) -> str:
        """The open-vocabulary name, such as ``red striped star``; solid goes without saying."""
        fill = "" if self.fill == "solid" else f"{self.fill} "
        return f"{self.colour} {fill}{self.shape}"


def check(kind: str, value: str, known: tuple[str, ...]) -> None:
    """Raise `ConfigError` with the near miss unless ``value`` is one of ``known``."""
    if value not in known:
        hint = near_miss(value, known)
        raise ConfigError(f"unknown {kind} {value!r}: expected one of {', '.join(known)}.{hint}")


def check_look(look: Look) -> Look:
    """Return ``look`` when all three words belong to the world, else raise `ConfigError`."""
    check("shape", look.shape, SHAPES)
    check("colour", look.colour, _COLOUR_NAMES)
    check("fill", look.fill, FILLS)
    return look


def held_out(shape: str, colour: str, fill: str) -> bool:
    """Whether pre-training leaves this combination out.

    For every shape two of the twelve colours and one of the four fills are missing (37.5 % of all
    looks), spread evenly: each colour and each fill is still seen with most shapes, so a model can
    know the words and yet has never met the combination.
    """
    look = check_look(Look(shape, colour, fill))
    s, c = SHAPES.index(look.shape), _COLOUR_NAMES.index(look.colour)
    return (c - 5 * s) % 12 in (0, 7) or (FILLS.index(look.fill) + s) % 4 == 2
