"""Views on paper: a row for each picture, its maps beside it, and the words below."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffuprompt.pictures.views import PictureView

PAPER, INK, FAINT = "#ffffff", "#1f2328", "#6a737d"
RISE, FALL = (214, 39, 40), (31, 119, 180)  # hiding takes from the logit, or adds to it
SIDE, GAP, LINE, SIZE = 224, 8, 15, 12  # pixels
STRONGEST = 0.75  # share of the colour where a map is largest


def heat(picture: Image.Image, map_GG: Tensor, largest: float) -> Image.Image:
    """Return the picture in grey under a map: red where the logit rests, blue where hiding helps.

    ``largest`` is what takes the whole colour, so that maps can be compared.
    """
    share = (map_GG / largest).clamp(-1, 1) if largest > 0 else torch.zeros_like(map_GG)
    out = picture.convert("L").convert("RGB")
    for colour, part in ((RISE, share.clamp_min(0)), (FALL, (-share).clamp_min(0))):
        values = (255 * STRONGEST * part).round().to(torch.uint8).contiguous().numpy()
        mask = Image.fromarray(values).resize(out.size, Image.Resampling.BILINEAR)
        out.paste(Image.new("RGB", out.size, colour), (0, 0), mask)
    return out


def map_of(view: PictureView, kind: str) -> Image.Image:
    """Return one map on its picture; the maps of a picture share their colours."""
    largest = max(float(each.map.abs().max()) for each in view.prompts.values())
    return heat(view.picture, view.prompts[kind].map, largest)


def draw_views(views: Sequence[PictureView], titles: Sequence[str]) -> Image.Image:
    """Return one sheet; ``titles`` are the pictures' names."""
    columns = 1 + max(len(view.prompts) for view in views)
    font = ImageFont.load_default(SIZE)
    blocks = [(view, title, _texts(view)) for view, title in zip(views, titles, strict=True)]
    longest = max(font.getlength(line) for _, _, lines in blocks for line in lines)
    width = max(GAP + columns * (SIDE + GAP), int(longest) + 2 * GAP)
    heights = [SIDE + LINE * (3 + len(lines)) + GAP for _, _, lines in blocks]
    page = Image.new("RGB", (width, GAP + sum(heights)), PAPER)
    pen, top = ImageDraw.Draw(page), GAP
    for (view, title, lines), height in zip(blocks, heights, strict=True):
        pen.text((GAP, top), f"{title}: {view.name}", INK, font)
        tiles = [("as the tower sees it", view.picture)]
        tiles += [
            (f"{kind}: {p.logit:+.2f}", map_of(view, kind)) for kind, p in view.prompts.items()
        ]
        for x, (label, image) in enumerate(tiles):
            left = GAP + x * (SIDE + GAP)
            page.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top + LINE))
            pen.text((left, top + LINE + SIDE + 1), label, FAINT, font)
        for y, line in enumerate(lines):
            pen.text((GAP, top + LINE * (2 + y) + SIDE + 2), line, INK, font)
        top += height
    return page


def png(image: Image.Image) -> bytes:
    """Return a PNG; the same image gives the same bytes."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def text_of(view: PictureView, title: str) -> str:
    """Return what is known of a picture as plain lines."""
    lines = [f"{title}: {view.name}"]
    for kind, each in view.prompts.items():
        whose = f" (of {view.shuffled_from})" if kind == "shuffled" else ""
        best = ", ".join(f"{name} {100 * p:.1f} %" for name, p in each.guesses)
        place = _where(each.map)
        lines.append(f"  {kind}{whose}: logit {each.logit:+.2f}, most of it from {place}; {best}")
        lines += [f"    {line}" for line in each.words.lines()]
    return "\n".join(lines)


def _texts(view: PictureView) -> list[str]:
    return text_of(view, "").splitlines()[1:]


def _where(map_GG: Tensor) -> str:
    """Return the place of the cell that counts most, in words."""
    cells = len(map_GG)
    row, column = divmod(int(map_GG.argmax()), cells)
    rows, columns = ("top", "middle", "bottom"), ("left", "centre", "right")
    at = (rows[min(3 * row // cells, 2)], columns[min(3 * column // cells, 2)])
    return "the middle" if at == ("middle", "centre") else f"the {' '.join(at)}"
