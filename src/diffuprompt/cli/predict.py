"""`diffuprompt predict`: names and probabilities for any number of images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.ask_backbone import load_classifier
from diffuprompt.cli.parse import Positional, Switch, bounded
from diffuprompt.cli.predictions import DOUBTS, Prediction, as_rows, as_text
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.ranges import BATCH, SAMPLES, TOP

if TYPE_CHECKING:
    from diffuprompt.hub import Classifier

EXAMPLES = """
diffuprompt predict holiday.jpg --classes cat,dog,horse
diffuprompt predict photos/ --artifact runs/birds --top 3
diffuprompt predict photos/*.jpg --zero-shot --classes @names.txt --json > names.json
diffuprompt predict photos/ --samples 8
"""
SHOWN_FROM = 32  # images whose checking takes long enough to be shown


@dataclass(frozen=True, kw_only=True)
class Args:
    """Name what is in images."""

    image: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")] = ()
    """Image files, or folders to search for images; up to 128 million pixels each."""
    artifact: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A run or an artifact folder; by default the newest finished run in --runs-dir, and where
    there is none, --classes alone: zero-shot."""
    zero_shot: Switch[bool] = False
    """Use no run: compare with "a photo of a NAME." for each of --classes."""
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
    """Where the backbone is, if not where it was at training; its weights must be the same.
    Zero-shot any CLIP will do; by default the best at hand (`diffuprompt doctor` says which)."""
    batch_size: Annotated[int, BATCH, bounded(BATCH)] = 32
    """Images at once; probabilities of other numbers agree to 1e-5."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


def run(args: Args) -> int:
    """Predict; every option and every image is checked before the model is loaded."""
    from diffuprompt.data import read_names

    classes = read_names(args.classes)
    if args.zero_shot and args.artifact is not None:
        raise ConfigError("--zero-shot uses no run: leave --artifact out, or --zero-shot")
    if args.zero_shot and not classes:
        raise ConfigError("--zero-shot needs the names to choose from: --classes A,B,C or @FILE")
    paths = expand(args.image)
    folder = artifact_of(args, classes)
    if folder is None and args.samples > 1:
        raise ConfigError("--samples: zero-shot draws nothing; use a run that has a generator")
    check_readable(paths)
    found = predict(args, folder, classes, paths)
    if args.json:
        print(json.dumps(as_rows(paths, found, args.samples), indent=2))
    else:
        print(as_text(paths, found, args.samples, bars=sys.stdout.isatty()))
    return 0


def artifact_of(args: Args, classes: Sequence[str]) -> Path | None:
    """Return the folder of the artifact to use, None for zero-shot; what is used is said.

    Raises:
        DataError: what --artifact names is no artifact, or there is neither a run nor --classes.
    """
    if args.zero_shot:
        return None
    if args.artifact is not None:
        return artifact_folder(args.artifact)
    from diffuprompt.cli.runs import find_newest_trained

    folder = find_newest_trained(args.runs_dir)
    if folder is None and not classes:
        raise DataError(
            f"{args.runs_dir}: no finished run found. Name what to choose from, for example "
            "--classes cat,dog,horse, and no run is needed; or run 'diffuprompt train' first, or "
            "name a folder with --artifact"
        )
    if folder is None:
        return None
    print(f"using the newest finished run, {folder}", file=sys.stderr)
    return artifact_folder(folder)


def load(args: Args, folder: Path | None, classes: Sequence[str]) -> Classifier:
    """Load the artifact, or for None a backbone alone."""
    from diffuprompt.checkpoints import AUTO, BUNDLED
    from diffuprompt.hub import Classifier

    if folder is None:
        backbone = args.backbone or AUTO
        model = Classifier.zero_shot(list(classes), backbone=backbone, device=args.device)
        print(f'zero-shot with {model.backbone}, "a photo of a NAME."', file=sys.stderr)
    else:
        model = load_classifier(folder, args.backbone, args.device)
        model = model.with_classes(list(classes)) if classes else model
    if model.backbone == BUNDLED:
        hint = "" if folder is None else "; for these train on them, or use --zero-shot"
        print(f"{BUNDLED} knows only drawn scenes, no photographs{hint}", file=sys.stderr)
    return model


def predict(
    args: Args, folder: Path | None, classes: Sequence[str], paths: Sequence[Path]
) -> list[Prediction]:
    """Return the best ``args.top`` classes of each image; ``folder`` is None for zero-shot."""
    from diffuprompt.cli.console import console_progress

    model = load(args, folder, classes)
    drawn = {} if args.samples == 1 else {"samples": args.samples}
    answers = model.recognise(paths, args.batch_size, **drawn, progress=console_progress())
    doubts = [dict[str, float]() for _ in paths]
    if answers.drawn is not None:
        columns = [getattr(answers.drawn, name).tolist() for name in DOUBTS]
        doubts = [dict(zip(DOUBTS, row, strict=True)) for row in zip(*columns, strict=True)]
    none = answers.none_of_these
    strange = [None] * len(paths) if none is None else none.tolist()
    top = answers.probabilities.topk(min(args.top, len(model.classes)))
    found = []
    for values, labels, doubt, unknown in zip(
        top.values.tolist(), top.indices.tolist(), doubts, strange, strict=True
    ):
        best = tuple(zip([model.classes[label] for label in labels], values, strict=True))
        found.append(Prediction(best=best, doubt=doubt, none_of_these=unknown))
    return found


def expand(images: Sequence[Path]) -> list[Path]:
    """Return the files, with folders replaced by the images below them in order of name.

    Raises:
        ConfigError: nothing was named.
        DataError: a path does not exist, or a folder holds no image; all of them at once.
    """
    from diffuprompt.data import find_pictures, left_out

    if not images:
        raise ConfigError("name at least one image or folder")
    found: list[Path] = []
    problems: list[str] = []
    for path in images:
        inside = [path]
        if os.path.isdir(path):
            there = find_pictures(path)
            inside = list(there.pictures)
            skipped = left_out([*there.meant, *there.others])
            if not inside:
                problems.append(f"{path}: no images in this folder" + (skipped and f"; {skipped}"))
            elif skipped:
                print(f"{path}: {skipped}", file=sys.stderr)
        elif not os.path.exists(path):  # which also answers for what can be no path
            shown = str(path).encode("utf-8", "backslashreplace").decode()[:300]
            problems.append(f"{shown}: no such file")
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
    from diffuprompt.engine import NULL

    problems = []
    shown = console_progress() if len(paths) >= SHOWN_FROM else NULL
    with shown.task("checking images", total=len(paths)) as task:
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
