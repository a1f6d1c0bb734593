"""`diffuprompt draw`: what there is to see of prompts, and what they make a model draw."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffuprompt.cli.ask_backbone import load_classifier
from diffuprompt.cli.parse import Positional, Repeated, Switch, bounded
from diffuprompt.cli.predict import artifact_folder, check_readable, expand
from diffuprompt.errors import ConfigError, DataError, near_miss
from diffuprompt.ranges import SEED, TOP, Range

if TYPE_CHECKING:
    from PIL import Image

    from diffuprompt.hub import Classifier
    from diffuprompt.pictures import PictureView

EXAMPLES = """
diffuprompt draw --image holiday.jpg
diffuprompt draw runs/birds --image robin.jpg --image wren.jpg --out drawn/
diffuprompt draw runs/birds --image robin.jpg --about robin --pictures --wrong wren
"""
STEPS, SIDE = Range(1, 1000), Range(64, 2048)
MOST = 64  # pictures on one sheet


@dataclass(frozen=True, kw_only=True)
class Args:
    """Show which words prompts lie near, and where in pictures a logit comes from."""

    run: Annotated[Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """A run or an artifact folder; by default the newest finished run in --runs-dir."""
    image: Annotated[Repeated[tuple[Path, ...]], tyro.conf.arg(metavar="FILE|DIR")] = ()
    """An image, or a folder of images; may be repeated, up to 64 images in all. Of several, each
    gets the prompts of the next one too ("shuffled"); a lone one gets those of its own blocks in
    another order."""
    about: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """The class to ask about; by default the most probable one of each image."""
    classes: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = ""
    """Names to choose from, or one name a line in @FILE; by default those it was trained on."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("drawn")
    """Folder for views.png, and with --pictures IMAGE-prompts.png and .json."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where to look for the newest run."""
    words: Annotated[int, TOP, bounded(TOP)] = 3
    """How many words and names to show; with --pictures at least two."""
    seed: Annotated[int, SEED, bounded(SEED)] = 0
    """Of the order of blocks, and of the noise that pictures start from."""
    pictures: Switch[bool] = False
    """Also draw the prompts with Stable Diffusion 1.x and a ControlNet for edges (extra "draw");
    exact for learners trained on ViT-L/14, for others through a fitted map, and it says so."""
    wrong: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """With --pictures: the other class; by default the next most probable one."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = ""
    """With --pictures: by default stable-diffusion-v1-5/stable-diffusion-v1-5."""
    controlnet: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = ""
    """With --pictures: by default lllyasviel/sd-controlnet-canny."""
    steps: Annotated[int, STEPS, bounded(STEPS)] = 30
    """With --pictures: steps of the sampler for each picture."""
    side: Annotated[int, SIDE, bounded(SIDE)] = 512
    """With --pictures: pixels of a side, a multiple of 64."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = ""
    """Where the backbone is, if not where it was at training; its weights must be the same."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


def run(args: Args) -> int:
    """Show and draw; options and images are checked before the model is loaded."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.data import load_image, read_names
    from diffuprompt.engine import write_bytes
    from diffuprompt.pictures import check_drawable, draw_views, png, text_of, view_pictures

    if not args.image:
        raise ConfigError("--image: name at least one image or folder")
    if args.side % 64:
        raise ConfigError(f"--side: got {args.side}, expected a multiple of 64")
    paths, classes = expand(args.image), read_names(args.classes)
    check_pictures(args, paths)
    folder = folder_of(args)
    check_readable(paths)
    model = load_classifier(folder, args.backbone, args.device)
    names = tuple(classes) or model.classes
    check_names(args, names)
    if args.pictures:
        check_drawable(model.artifact.learner)
    pictures = [load_image(path) for path in paths]
    views = view_pictures(
        model.artifact,
        pictures,
        classes=names,
        names=[args.about] * len(paths) if args.about else None,
        seed=args.seed,
        most=max(args.words, 2) if args.pictures else args.words,  # a true and a wrong class
        progress=console_progress(),
    )
    titles = [path.name for path in paths]
    write_bytes(args.out / "views.png", png(draw_views(views, titles)))
    print("\n\n".join(text_of(view, title) for view, title in zip(views, titles, strict=True)))
    print(f"drawn: {args.out / 'views.png'}", file=sys.stderr)
    if args.pictures:
        draw_pictures(args, model, names, paths, pictures, views)
    return 0


def check_pictures(args: Args, paths: Sequence[Path]) -> None:
    """Raise `ConfigError` for more pictures than fit a sheet, or for two that write one file."""
    if len(paths) > MOST:
        raise ConfigError(f"--image: got {len(paths)} images, expected at most {MOST}; name fewer")
    seen: dict[str, Path] = {}
    problems = []
    for path in paths if args.pictures else ():
        stem = path.stem.casefold()  # some disks do not tell cases apart
        if stem in seen:
            problems.append(
                f"--image: {seen[stem]} and {path} would both write {path.stem}-prompts.png; "
                "rename one, or draw them with another --out"
            )
        seen.setdefault(stem, path)
    if problems:
        raise ConfigError("\n  ".join(problems))


def folder_of(args: Args) -> Path:
    """Return the folder of the artifact; which one is said where nobody named it.

    Raises:
        DataError: what was named is none, or there is no finished run.
    """
    from diffuprompt.cli.runs import find_newest_trained

    if args.run is not None:
        return artifact_folder(args.run)
    folder = find_newest_trained(args.runs_dir)
    if folder is None:
        raise DataError(
            f"{args.runs_dir}: no finished run found; run 'diffuprompt train' first, or name one"
        )
    print(f"using the newest finished run, {folder}", file=sys.stderr)
    return artifact_folder(folder)


def check_names(args: Args, names: Sequence[str]) -> None:
    """Raise `ConfigError` unless the classes that are asked about are among ``names``."""
    problems = []
    for option, name in (("--about", args.about), ("--wrong", args.wrong)):
        if name and name not in names:
            hint = near_miss(name, list(names))
            problems.append(f"{option}: {name!r} is none of the {len(names)} classes.{hint}")
    if args.pictures and len(names) < 2:
        problems.append("--pictures: needs a true and a wrong class, and there is one class")
    if args.wrong and args.wrong == args.about:
        problems.append("--wrong: expected another class than --about")
    if problems:
        raise ConfigError("\n  ".join(problems))


def draw_pictures(
    args: Args,
    model: Classifier,
    names: Sequence[str],
    paths: Sequence[Path],
    pictures: Sequence[Image.Image],
    views: Sequence[PictureView],
) -> None:
    """Draw a grid of each picture, write it with its numbers, and print these."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.engine import write_bytes, write_json
    from diffuprompt.pictures import (
        CONTROL,
        MODEL,
        Painter,
        PainterConfig,
        draw_grid,
        load_pipeline,
        png,
    )

    device = str(model.artifact.clip.device)
    pipeline = load_pipeline(args.model or MODEL, args.controlnet or CONTROL, device)
    config = PainterConfig(steps=args.steps, side=args.side, seed=args.seed)
    painter = Painter(pipeline, model.artifact.clip, names, config)
    for path, picture, view in zip(paths, pictures, views, strict=True):
        other = args.wrong or next_best(view)
        grid = draw_grid(
            model.artifact,
            painter,
            picture,
            true=view.name,
            wrong=other,
            classes=names,
            progress=console_progress(),
        )
        target = args.out / f"{path.stem}-prompts.png"
        write_bytes(target, png(grid.sheet))
        write_json(target.with_suffix(".json"), grid.to_json())
        print(f"\n{path.name}: {view.name}, and {other}; prompts are {grid.fidelity}")
        print(json.dumps(grid.to_json(), indent=2))
        print(f"drawn: {target}", file=sys.stderr)


def next_best(view: PictureView) -> str:
    """Return the most probable name but the one that is asked about, of two guesses or more.

    By the prompts that chose the name: those generated, where there are some.
    """
    from diffuprompt.pictures import GENERATED, OWN

    ranked = view.prompts[GENERATED if GENERATED in view.prompts else OWN].guesses
    return next(name for name, _ in ranked if name != view.name)
