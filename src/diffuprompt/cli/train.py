"""`diffuprompt train`: learn prompts from a few labelled images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffuprompt.cli.parse import Repeated, Switch, bounded
from diffuprompt.errors import ConfigError
from diffuprompt.protocols import PROTOCOLS
from diffuprompt.ranges import IMAGE_MIB, SEED, SHOTS, TEXT_MIB, WORKERS

if TYPE_CHECKING:
    from diffuprompt.engine import Progress
    from diffuprompt.jobs import JobConfig

    Protocol = str
else:
    Protocol = Literal[("auto", *PROTOCOLS)]  # the command line refuses all others

EXAMPLES = """
diffuprompt train --data scenes --learner cocoop --generator diffusion
diffuprompt train --data caltech101 --backbone photo-clip-lite --learner cocoop
diffuprompt train --data ~/Pictures/birds --learner cocoop --shots 4 --set lr=0.01 --set epochs=20
diffuprompt train --config experiment.toml --seed 2
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Learn prompts from a few labelled images."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = ""
    """Catalog name (`diffuprompt ls datasets`), a folder per class, a CSV or a split JSON."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "scenes-clip"
    """A known backbone (`diffuprompt ls backbones`), a CLIP folder or a hub id."""
    learner: Annotated[str, tyro.conf.arg(metavar="NAME")] = "coop"
    """zero-shot, coop, maple, promptsrc, ... (`diffuprompt ls learners`)."""
    generator: Annotated[str, tyro.conf.arg(metavar="NAME")] = "none"
    """none: the learner's own prompts; diffusion: prompts generated for each image."""
    shots: Annotated[int, SHOTS, bounded(SHOTS)] = 16
    """Labelled images per class."""
    seed: Annotated[int, SEED, bounded(SEED)] = 1
    """The one seed that everything random is derived from."""
    protocol: Protocol = "auto"
    """base-to-new: train on half of the classes, score both halves; few-shot: all classes;
    holdout: base-to-new inside the base classes, on val images, to choose settings."""
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Recipe (`diffuprompt ls presets`); auto: the one for this backbone and learner."""
    set: Annotated[Repeated[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Change one value of the recipe: epochs, batch, lr, views, or a key that
    `diffuprompt ls learners` or `diffuprompt ls generators` shows."""
    setting: Annotated[str, tyro.conf.arg(metavar="TEXT")] = ""
    """Name of an ablation, such as overfit.steps=3: reports show it apart from the main results."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Options from a file, same names; the command line wins."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The run's folder; by default a name made of the options, inside --runs-dir."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where runs are kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: towers with prompts run in mixed precision; about three times faster where the
    processor knows bfloat16, logits move by a hundredth."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    workers: Annotated[int, WORKERS, bounded(WORKERS)] = 2
    """Threads that read images."""
    rehash: Switch[bool] = False
    """Read every picture again, whatever is remembered of its content."""
    text_memory_mib: Annotated[int, TEXT_MIB, bounded(TEXT_MIB, "MIB")] = 1024
    """Budget of the text tower's activations; smaller is slower, never different."""
    image_memory_mib: Annotated[int, IMAGE_MIB, bounded(IMAGE_MIB, "MIB")] = 1024
    """Budget of what is kept of images between epochs; the rest is read from disk; as above."""
    dry_run: Switch[bool] = False
    """Print the resolved configuration and stop."""


def job(args: Args) -> JobConfig:
    """Return the job that ``args`` asks for, validated by the job layer.

    Raises:
        ConfigError: --data is missing, or any value the job layer refuses.
    """
    from diffuprompt.jobs import JobConfig

    if not args.data:
        raise ConfigError("--data is required: a name from 'diffuprompt ls datasets', or a path")
    values = dataclasses.asdict(args)
    overrides = values.pop("set")
    for name in ("config", "dry_run"):
        del values[name]
    return JobConfig(**values, overrides=overrides)


def run(args: Args) -> int:
    """Train, or print what would be trained."""
    config = job(args)
    from diffuprompt.cli.console import console_progress
    from diffuprompt.jobs import train_job

    progress = console_progress()
    if args.dry_run:
        print(describe(config, progress))
        return 0
    folder = train_job(config, progress)
    print(f"trained: {folder}")
    print(f"next:    diffuprompt evaluate {folder}")
    return 0


def describe(config: JobConfig, progress: Progress) -> str:
    """Open the data and the backbone, and return the job as it would be run, one value per line."""
    from diffuprompt.jobs import folder_of, prepare

    prepared = prepare(config, progress)
    rows: dict[str, object] = {"folder": folder_of(prepared).path}
    for key, value in prepared.resolved.to_json().items():
        inner = value if isinstance(value, dict) else None
        section = "learner" if key == "options" else key
        rows |= {key: value} if inner is None else {f"{section}.{k}": inner[k] for k in inner}
    rows["training images"] = len(prepared.roles.train.items)
    for subset, selection in prepared.roles.tests.items():
        rows[f"test images ({subset})"] = len(selection.items)
    rows |= {f"stage {name}": key for name, key in prepared.chain.keys.items()}
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}} = {rows[key]}" for key in rows)
