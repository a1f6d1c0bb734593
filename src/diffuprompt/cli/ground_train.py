"""`diffuprompt ground train`: learn prompts that find what an expression means in a picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffuprompt.cli.parse import Repeated, Switch, bounded
from diffuprompt.ranges import SEED, WORKERS

if TYPE_CHECKING:
    from diffuprompt.jobs import GroundingJobConfig

EXAMPLES = """
diffuprompt ground train
diffuprompt ground train --data crowds --method vpt --seed 2
diffuprompt ground train --data my-expressions.json --detector mm-grounding-dino-tiny
diffuprompt ground train --method paper --preset paper --dry-run
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Train a method that adapts a frozen grounding detector to expressions."""

    data: Annotated[str, tyro.conf.arg(metavar="WORLD|PATH")] = "scenes"
    """scenes, crowds, collages; or expressions about your own pictures: a JSON file (COCO style
    with captions, or MDETR's), a folder of RefCOCO or of Flickr30k Entities."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the pictures, where the data do not say it; of the data sets, for collages."""
    test: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Test sets: a world, or scenes/sketch and the like; of files a split such as testA. Without
    it the data's own."""
    masks_from: Annotated[str, tyro.conf.arg(metavar="WORLD|PATH")] = ""
    """Where the Mask-VAE and the mask generator learn, if not from --data."""
    detector: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "auto"
    """The frozen detector: a bundled name, a folder, glip_a_tiny_o365.pth, or a hub id; auto: the
    bundled one of a made world."""
    method: Annotated[str, tyro.conf.arg(metavar="NAME")] = "diff-prompt"
    """diff-prompt, a rival (vpt, lora, ...) or a control (regression, oracle, ...)."""
    preset: Literal["default", "paper", "released"] = "default"
    """default: made for a CPU; paper, released: Diff-Prompt's own sizes and schedules."""
    seed: Annotated[int, SEED, bounded(SEED)] = 1
    """The one seed that everything random is derived from."""
    set: Annotated[Repeated[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Change one value, such as generator_fit.steps=500, generator.nfe=5 or method.depth=4;
    --dry-run shows all keys."""
    setting: Annotated[str, tyro.conf.arg(metavar="TEXT")] = ""
    """Name of an ablation: reports show it apart from the main results."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The run's folder; by default a name made of the options, inside --runs-dir."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where runs are kept."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:N or mps; auto is the first GPU where there is one."""
    workers: Annotated[int, WORKERS, bounded(WORKERS)] = 2
    """Processes that make the pictures of a world."""
    dry_run: Switch[bool] = False
    """Print every value that counts, and stop."""


def job(args: Args) -> GroundingJobConfig:
    """Return the job that ``args`` asks for, validated by the job layer."""
    from diffuprompt.jobs import GroundingJobConfig

    values = dataclasses.asdict(args)
    overrides = values.pop("set")
    del values["dry_run"]
    return GroundingJobConfig(**values, overrides=overrides)


def run(args: Args) -> int:
    """Train; or print what would be trained."""
    from diffuprompt.cli.console import console_progress
    from diffuprompt.jobs import grounding_folder, grounding_run, resolved_settings, train_grounding

    config = job(args)
    if args.dry_run:
        asked = grounding_run(config)
        rows: dict[str, object] = {"folder": grounding_folder(asked).path}
        for section, values in resolved_settings(asked).items():
            rows |= {f"{section}.{key}": value for key, value in values.items()}
        width = max(map(len, rows))
        print("\n".join(f"{key:<{width}} = {value}" for key, value in rows.items()))
        return 0
    folder = train_grounding(config, console_progress())
    print(f"trained: {folder}")
    print(f"next: diffuprompt ground evaluate {folder}")
    print(f'      diffuprompt ground predict IMAGE "the red cup" --artifact {folder}')
    return 0
