"""`diffuprompt predict`: names and probabilities for any number of images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.cli.predictions import DOUBTS, Prediction, as_rows, as_text
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.ranges import BATCH, SAMPLES, TOP

EXAMPLES = """
diffuprompt predict holiday.jpg
diffuprompt predict photos/ --artifact runs/scenes-cocoop --top 3
diffuprompt predict photos/*.jpg --classes "snow leopard,lynx,house cat" --json > names.json
diffuprompt predict photos/ --samples 8
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Name what is in images."""

    image: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")] = ()
    """Image files, or folders to search for images."""
    artifact: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A run or an artifact folder; by default the newest finished run in --runs-dir."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where to look for the newest run."""
    classes: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = ""
    """Names to choose from, or one name a line in @FILE; by default those it was trained on."""
    top: Annotated[int, TOP, bounded(TOP)] = 5
    """How many names to show for each image."""
    samples: Annotated[int, SAMPLES, bounded(SAMPLES)] = 1
    """Draws of a generator's prompts for each image; from 2 on, probabilities are means over the
    draws, with three measures of how far these disagree. Time grows with N."""
    json: Switch[bool] = False
    """Print one JSON list instead of text."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = ""
    """Where the backbone is, if not where it was at training; its weights must be the same."""
    batch_size: Annotated[int, BATCH, bounded(BATCH)] = 32
    """Images at once."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


def run(args: Args) -> int:
    """Predict; every option and every image is checked before the model is loaded."""
    from diffuprompt.data import read_names

    classes = read_names(args.classes)
    paths = expand(args.image)
    check_readable(paths)
    folder = args.artifact
    if folder is None:
        from diffuprompt.cli.runs import newest_trained

        folder = newest_trained(args.runs_dir)
        print(f"using the newest finished run, {folder}", file=sys.stderr)
    found = predict(args, artifact_folder(folder), classes, paths)
    if args.json:
        print(json.dumps(as_rows(paths, found, args.samples), indent=2))
    else:
        print(as_text(paths, found, args.samples, bars=sys.stdout.isatty()))
    return 0


def predict(
    args: Args, folder: Path, classes: Sequence[str], paths: Sequence[Path]
) -> list[Prediction]:
    """Load the artifact and return the best ``args.top`` classes of each image."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.hub import Classifier

    model = Classifier.from_pretrained(folder, backbone=args.backbone or None, device=args.device)
    if classes:
        model = model.with_classes(list(classes))
    progress, doubts = console_progress(), [dict[str, float]() for _ in paths]
    if args.samples == 1:
        probabilities = model.predict(paths, args.batch_size, progress=progress)
    else:
        drawn = model.predict(paths, args.batch_size, samples=args.samples, progress=progress)
        probabilities = drawn.probabilities
        columns = [getattr(drawn, name).tolist() for name in DOUBTS]
        doubts = [dict(zip(DOUBTS, row, strict=True)) for row in zip(*columns, strict=True)]
    top = probabilities.topk(min(args.top, len(model.classes)))
    found = []
    for values, labels, doubt in zip(
        top.values.tolist(), top.indices.tolist(), doubts, strict=True
    ):
        names = [model.classes[label] for label in labels]
        found.append(Prediction(best=tuple(zip(names, values, strict=True)), doubt=doubt))
    return found


def expand(images: Sequence[Path]) -> list[Path]:
    """Return the files, with folders replaced by the images below them in order of name.

    Raises:
        ConfigError: nothing was named.
        DataError: a path does not exist, or a folder holds no image; all of them at once.
    """
    from diffuprompt.data import SUFFIXES

    if not images:
        raise ConfigError("name at least one image or folder")
    found: list[Path] = []
    problems: list[str] = []
    for path in images:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                problems.append(f"{path}: no images in this folder")
        elif not path.exists():
            problems.append(f"{path}: no such file")
        found += inside
    if problems:
        raise DataError("\n  ".join(problems))
    return found


def check_readable(paths: Sequence[Path]) -> None:
    """Decode every image once.

    Raises:
        DataError: some cannot be read; all of them at once.
    """
    from diffuprompt.cli.console import console_progress
    from diffuprompt.data import load_image

    problems = []
    with console_progress().task("checking images", total=len(paths)) as task:
        for path in paths:
            try:
                load_image(path)
            except DataError as error:
                problems.append(str(error))
            task.advance()
    if problems:
        raise DataError("\n  ".join([*problems, "nothing was predicted; remove or repair these"]))


def artifact_folder(folder: Path) -> Path:
    """Return the folder of artifact.json: ``folder`` itself, or the one inside a run.

    Raises:
        DataError: neither holds an artifact.
    """
    for candidate in (folder, folder / "artifact"):
        if (candidate / "artifact.json").is_file():
            return candidate
    raise DataError(f"{folder}: expected a run or an artifact folder, found no artifact.json in it")
