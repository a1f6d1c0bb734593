"""`diffuprompt ground predict`: where in a picture is what an expression means."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.ranges import SAMPLES

if TYPE_CHECKING:
    from PIL import Image

    from diffuprompt.grounding import Grounded, Grounder

EXAMPLES = """
diffuprompt ground predict runs/demo/scene.png "red ring" "the leftmost square" --samples 8
diffuprompt ground predict picture.jpg "the red cup left of the lamp" --artifact runs/mine
diffuprompt ground predict picture.jpg @expressions.txt --artifact runs/mine --json > boxes.json
diffuprompt ground predict picture.jpg "the dog" --artifact runs/mine --detector ./mm-grounding-dino
"""
SHOWN, LISTED = 5, 10  # boxes of an expression, in text and drawing, and in JSON


@dataclass(frozen=True, kw_only=True)
class Args:
    """Find what expressions mean in a picture, and draw it."""

    image: Annotated[Positional[Path], tyro.conf.arg(metavar="IMAGE")]
    """An image file; up to 128 million pixels."""
    expressions: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="TEXT...")] = ()
    """What to look for, each in quotes; @FILE reads one expression a line."""
    artifact: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A run of `diffuprompt ground train`, or its artifact; by default the newest trained one in
    --runs-dir, and where there is none the bundled one, which knows drawn scenes alone."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where to look for the newest run."""
    detector: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = ""
    """Where the detector is, if not where it was at training; its weights must be the same."""
    samples: Annotated[int, SAMPLES, bounded(SAMPLES)] = 1
    """Draws of masks for each expression; from 2 on, their mean and spread are drawn, and how many
    agree about the best box is said. Time grows with N."""
    json: Switch[bool] = False
    """Print one JSON list instead of text; then nothing is drawn without --out."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR|FILE.png")] = None
    """Where the drawing goes; by default IMAGE-grounded.png in the current folder."""


def run(args: Args) -> int:
    """Predict; options, picture and expressions are checked before the model is loaded."""
    from diffuprompt.data import load_image

    texts = read_expressions(args.expressions)
    target = drawing_of(args)
    if not args.image.exists():
        raise DataError(f"{args.image}: no such file")
    picture = load_image(args.image)
    grounder = load(args)
    found = grounder(picture, texts, samples=args.samples)
    if args.json:
        print(json.dumps([as_row(args.image, one, args.samples) for one in found], indent=2))
    else:
        print("\n\n".join(as_text(one, args.samples) for one in found))
    if target is not None:
        write_drawing(picture, found, args.samples, target)
        print(f"drawn: {target}", file=sys.stderr)
    return 0


def read_expressions(words: Sequence[str]) -> list[str]:
    """Return what to look for, lines of files in the place of @FILE.

    Raises:
        ConfigError: there is none, one is empty, or a file cannot be read.
    """
    from diffuprompt.reading import read_text

    found: list[str] = []
    for word in words:
        if not word.startswith("@"):
            found.append(word.strip())
            continue
        path = Path(word[1:]).expanduser()
        lines = [line.strip() for line in read_text(path, error=ConfigError).splitlines()]
        found += [line for line in lines if line]
    if not found:
        raise ConfigError('name at least one expression behind the image, such as "the red cup"')
    if not all(found):
        raise ConfigError("expressions: one is empty; expected words in each")
    return found


def drawing_of(args: Args) -> Path | None:
    """Return the file of the drawing; None for none.

    Raises:
        ConfigError: it would replace the picture.
    """
    if args.out is None and args.json:
        return None
    name = f"{args.image.stem}-grounded.png"
    out = Path(name) if args.out is None else args.out
    target = out if out.suffix.lower() == ".png" and not out.is_dir() else out / name
    if target.resolve() == args.image.resolve():
        raise ConfigError(f"--out: {target} is the picture itself; name another file")
    return target


def load(args: Args) -> Grounder:
    """Load what predicts; what is used is said."""
    from diffuprompt.cli.runs import find_newest_grounder
    from diffuprompt.grounding import BUNDLED_GROUNDER, bundled_grounder, load_grounder

    folder = args.artifact or find_newest_grounder(args.runs_dir)
    if folder is None:
        folder = bundled_grounder()
        print(
            f"no trained run in {args.runs_dir}: using {BUNDLED_GROUNDER}, which knows only drawn "
            "scenes, no photographs; train on your own with 'diffuprompt ground train'",
            file=sys.stderr,
        )
    elif args.artifact is None:
        print(f"using the newest trained run, {folder}", file=sys.stderr)
    return load_grounder(folder, detector=args.detector or None)


def as_row(image: Path, found: Grounded, samples: int) -> dict[str, Any]:
    """Return what --json prints of one expression; boxes are x0, y0, x1, y1 in pixels."""
    boxes, scores = found.boxes[:LISTED].tolist(), found.scores[:LISTED].tolist()
    row: dict[str, Any] = {
        "image": str(image),
        "expression": found.text,
        "root": found.text[slice(*found.root)],
        "predictions": [{"box": b, "score": s} for b, s in zip(boxes, scores, strict=True)],
    }
    if samples > 1:
        row |= {"samples": samples, "agreement": found.agreement, "draws": found.best.tolist()}
    return row


def as_text(found: Grounded, samples: int) -> str:
    """Return the expression, its best boxes with scores, and how far draws agree."""
    lines = [found.text]
    boxes, scores = found.boxes[:SHOWN].tolist(), found.scores[:SHOWN].tolist()
    for box, score in zip(boxes, scores, strict=True):
        lines.append("  " + " ".join(f"{value:7.1f}" for value in box) + f"  {100 * score:6.2f}%")
    if not boxes:
        lines.append("  nothing found")
    if samples > 1:
        lines.append(f"  over {samples} draws: {100 * found.agreement:.0f}% agree on the best box")
    return "\n".join(lines)


def write_drawing(
    picture: Image.Image, found: Sequence[Grounded], samples: int, target: Path
) -> None:
    """Write the picture with boxes and masks, a row for each expression."""
    from diffuprompt.engine import write_bytes
    from diffuprompt.grounding import Strip, draw_strips, marks_of, png_bytes

    strips = []
    for one in found:
        agree = f"{100 * one.agreement:.0f}% of {samples} draws agree on the best box"
        strips.append(
            Strip(
                picture=picture,
                title=one.text,
                note=agree if samples > 1 else "",
                marks=marks_of(one, SHOWN),
                maps=one.maps,
            )
        )
    side = min(max(*picture.size, 128), 320)
    write_bytes(target, png_bytes(draw_strips(strips, side=side)))
