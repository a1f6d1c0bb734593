"""Pictures of what was found: boxes on the picture, and beside it the masks behind them.

Legend: M draw, K kept steps of a trajectory; H, W of a map.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from diffuprompt.grounding.grounder import Grounded

FIRST, OTHER, TRUE = "#ff7f0e", "#1f9bff", "#00c853"
PAPER, INK, FAINT = "#ffffff", "#1f2328", "#6a737d"
GAP, LINE, SIZE = 6, 15, 12  # pixels between tiles, of a line of text, of its letters
COLOURS = 128  # of a small file


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box on a picture, in its pixels, with a word beside it."""

    box: tuple[float, float, float, float]
    colour: str = FIRST
    width: int = 3
    label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """One row of a drawing: a picture with boxes, and the masks behind them.

    Attributes:
        picture: RGB.
        title: above it.
        note: below the title, fainter.
        marks: the last one is on top.
        maps: ``(M, K, H, W)`` in 0..1, the cleanest first; None draws none.
    """

    picture: Image.Image
    title: str
    note: str = ""
    marks: Sequence[Mark] = ()
    maps: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tile:
    image: Image.Image
    label: str


def marks_of(found: Grounded, most: int = 5) -> list[Mark]:
    """Return the best boxes of an expression with their scores: the best thick, others thin."""
    rows = list(zip(found.boxes[:most].tolist(), found.scores[:most].tolist(), strict=True))
    out = [
        Mark(box=_four(box), colour=OTHER, width=1, label=f"{score:.2f}") for box, score in rows[1:]
    ]
    out.reverse()
    return out + [Mark(box=_four(box), label=f"{score:.2f}") for box, score in rows[:1]]


def draw_strips(strips: Sequence[Strip], *, side: int = 192, head: str = "") -> Image.Image:
    """Return strips below one another.

    Masks stand in the order of the trajectory, from the noisiest to the cleanest; where there are
    several draws, their mean and their standard deviation follow, half being white.

    Args:
        strips: at least one.
        side: pixels of a tile's longer side.
        head: a line above all of them.
    """
    rows = [_tiles(strip, side) for strip in strips]
    widths = [sum(t.image.width + GAP for t in tiles) + GAP for tiles in rows]
    heights = [max(t.image.height for t in tiles) + 3 * LINE + GAP for tiles in rows]
    top = LINE + GAP if head else GAP
    font = ImageFont.load_default(SIZE)
    texts = [text for strip in strips for text in (strip.title, strip.note)]
    longest = max(int(font.getlength(text)) for text in [head, *texts]) + 2 * GAP
    page = Image.new(
        "RGB", (min(max(*widths, longest), 4 * max(widths)), top + sum(heights)), PAPER
    )
    pen = ImageDraw.Draw(page)
    pen.text((GAP, 3), head, INK, font)
    for strip, tiles, height in zip(strips, rows, heights, strict=True):
        pen.text((GAP, top), strip.title, INK, font)
        pen.text((GAP, top + LINE), strip.note, FAINT, font)
        x = GAP
        for tile in tiles:
            page.paste(tile.image, (x, top + 2 * LINE))
            pen.text((x, top + 2 * LINE + tile.image.height), tile.label, FAINT, font)
            x += tile.image.width + GAP
        top += height
    return page


def png_bytes(
    image: Image.Image, *, texts: Mapping[str, str] | None = None, small: bool = False
) -> bytes:
    """Return a PNG; the same image gives the same bytes.

    Args:
        image: RGB.
        texts: what it carries beside the image, by name.
        small: with few colours.
    """
    info = PngImagePlugin.PngInfo()
    for name, text in (texts or {}).items():
        info.add_itxt(name, text)
    if small:
        image = image.quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, pnginfo=info)
    return file.getvalue()


def picture_of(pixels_3HW: Tensor) -> Image.Image:
    """Return RGB in 0..1 as an image."""
    rows = (255 * pixels_3HW.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(rows.contiguous().numpy())


def _tiles(strip: Strip, side: int) -> list[_Tile]:
    picture = strip.picture
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    shown = picture.convert("RGB").resize(size, smooth)
    for mark in strip.marks:
        _mark(shown, mark, scale)
    return [_Tile(image=shown, label=""), *_masks(strip.maps, size)]


def _masks(maps_MKHW: Tensor | None, size: tuple[int, int]) -> list[_Tile]:
    if maps_MKHW is None:
        return []
    path = list(maps_MKHW[0].flip(0))
    if all(torch.equal(step, path[0]) for step in path):  # one map that stands for all
        path = path[:1]
    names = [""] * len(path)
    names[0] = "noisiest"
    names[-1] = "cleanest" if len(path) > 1 else "mask"
    tiles = [
        _Tile(image=_grey(step, size), label=name) for step, name in zip(path, names, strict=True)
    ]
    draws = len(maps_MKHW)
    if draws > 1:
        last = maps_MKHW[:, 0]
        spread = last.std(0, correction=0)
        tiles += [
            _Tile(image=_grey(last.mean(0), size), label=f"mean of {draws}"),
            _Tile(image=_grey(2 * spread, size), label=f"spread, up to {float(spread.max()):.2f}"),
        ]
    return tiles


def _grey(map_HW: Tensor, size: tuple[int, int]) -> Image.Image:
    values = (255 * map_HW.clamp(0, 1)).round().to(torch.uint8).contiguous().numpy()
    return Image.fromarray(values).resize(size, Image.Resampling.NEAREST).convert("RGB")


def _mark(shown: Image.Image, mark: Mark, scale: float) -> None:
    pen, (x0, y0, x1, y1) = ImageDraw.Draw(shown), (scale * value for value in mark.box)
    left, up = min(max(x0, 0), shown.width - 2), min(max(y0, 0), shown.height - 2)
    right, down = min(max(x1 - 1, left + 1), shown.width), min(max(y1 - 1, up + 1), shown.height)
    pen.rectangle((left, up, right, down), outline=mark.colour, width=mark.width)
    if mark.label:
        font = ImageFont.load_default(SIZE - 2)
        wide = font.getlength(mark.label)
        x, y = min(left, shown.width - wide - 2), up - LINE + 2 if up >= LINE else down + 1
        y = min(y, shown.height - LINE + 2)
        pen.rectangle((x, y, x + wide + 2, y + LINE - 3), fill=mark.colour)
        pen.text((x + 1, y), mark.label, PAPER, font)


def _four(box: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0, y0, x1, y1
