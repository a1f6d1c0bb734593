"""`diffuprompt train`: learn prompts from a few labelled images."""

from __future__ import annotations

import dataclasses
import shlex
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
diffuprompt train --data ~/Pictures/birds
diffuprompt train --data scenes --learner cocoop --generator diffusion
diffuprompt train --data caltech101 --backbone photo-clip-lite --learner cocoop
diffuprompt train --data ~/Pictures/birds --learner cocoop --shots 4 --set lr=0.01 --set epochs=20
diffuprompt train --data imagenet --protocol cross-dataset --learner maple
diffuprompt train --data caltech101 --protocol cross-dataset --test-data scenes ~/Pictures/birds
diffuprompt train --data ~/PACS --layout domains --train-domains photo cartoon
diffuprompt train --data ~/Pictures/birds --unknown ~/Pictures/other
diffuprompt train --config experiment.toml --seed 2
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Learn prompts from a few labelled images."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = ""
    """A name (`diffuprompt ls datasets`), a folder per class, a CSV, a split JSON, tar files or
    hf:NAME; images up to 128 million pixels."""
    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, where the data set does not say it."""
    layout: Literal["auto", "domains"] = "auto"
    """domains: the folder's sub folders are domains, domain/class/picture (PACS, OfficeHome)."""
    train_domains: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DOMAIN...")] = ()
    """With --layout domains: those that train; every picture of the others is a test picture."""
    test_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|PATH...")] = ()
    """Other data sets to score too, among their own names; what cross-dataset and domain need.
    Without it ImageNet and the scenes take those of the paper that are on this machine."""
    exif_orientation: Switch[bool] = False
    """Turn pictures as their EXIF orientation says; CLIP's own preprocessing does not. Evaluation
    and prediction with the prompts learned then do the same."""
    allow_outside: Switch[bool] = False
    """Read pictures outside that folder too: behind links, by ".." or as absolute paths."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "auto"
    """A known backbone (`diffuprompt ls backbones`), a CLIP folder or a hub id; auto: scenes-clip
    for the scenes, the best CLIP at hand for photographs (`diffuprompt doctor` says which)."""
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
    cross-dataset: all classes, then other data sets among their own names; domain: all classes,
    then other pictures of the same classes; holdout: base-to-new inside the base classes, on val
    images, to choose settings."""
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Recipe (`diffuprompt ls presets`); auto: the one for this backbone and learner."""
    templates: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|TEXT...")] = ()
    """Sentences of zero-shot, CLIP-Adapter, Tip-Adapter and ProGrad's teacher: dataset (each data
    set's own, as published; what it is without this), single, imagenet-7, imagenet-80,
    promptsrc-60, or texts with {} for the name."""
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
    """Budget of the text tower's activations. Smaller is slower and rounded in another order,
    which moves features by about 1e-6 and what is trained by some 1e-4; it is no other run."""
    image_memory_mib: Annotated[int, IMAGE_MIB, bounded(IMAGE_MIB, "MIB")] = 1024
    """Budget of what is kept of images between epochs; the rest is read from disk. Smaller is
    slower, never different."""
    evaluate: bool = True
    """Whether few-shot training on your own pictures ends with the accuracy on held-out ones, and
    cross-dataset and domain with that on every test set."""
    unknown: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Pictures that show none of the classes: the artifact's threshold for "none of these" is
    fitted on them too. Without it few-shot training on your own pictures takes held-out ones."""
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
    for name in ("config", "dry_run", "evaluate", "unknown"):
        del values[name]
    return JobConfig(**values, overrides=overrides)


def run(args: Args) -> int:
    """Train, and score what was trained on own pictures; or print what would be trained."""
    config = job(args)
    from diffuprompt.cli.console import console_progress
    from diffuprompt.jobs import train_or_find, unknown_pictures

    progress = console_progress()
    if args.unknown is not None:
        unknown_pictures(args.unknown)  # a wrong folder is refused before training
    if args.dry_run:
        print(describe(config, progress))
        return 0
    folder, is_new = train_or_find(config, progress)
    print(f"trained: {folder}", flush=True)
    if args.unknown is not None or (is_new and args.evaluate and is_own_few_shot(config)):
        from diffuprompt.cli.calibrate import fit

        fit(folder, args.unknown, progress)
    steps = evaluations(folder, config)
    if args.evaluate and config.is_transfer:
        print(transfer(folder, config, progress))
        more = steps if config.generator != "none" else []  # its controls
        steps = [*more, f"diffuprompt report {folder.parent} --out page"]
    elif args.evaluate and is_own_few_shot(config):
        print(score(folder, config, progress))
        steps = [f"diffuprompt predict IMAGE --artifact {folder}"]
        if config.generator != "none":  # what the generator itself contributes
            steps += evaluations(folder, config)
        steps.append(f"diffuprompt report {folder.parent} --out page")
    for i, step in enumerate(steps):
        print(f"{'' if i else 'next:':<8} {step}")
    return 0


def evaluations(folder: Path, config: JobConfig) -> list[str]:
    """Return the commands that score a run on all its test sets, and on those of today."""
    from diffuprompt.jobs import RunFolder

    others = RunFolder(folder).unlisted(config.test_data)
    root = [] if config.data_root is None else ["--data-root", str(config.data_root)]
    more = shlex.join(["--data", *others, *root])
    plain = f"diffuprompt evaluate {folder}"
    return [plain, f"{plain} {more}"] if others else [plain]


def is_own_few_shot(config: JobConfig) -> bool:
    """Whether a job trains all classes of somebody's own pictures, and no benchmark."""
    from diffuprompt.data import names

    return config.data not in names() and config.protocol in ("auto", "few-shot")


def transfer(folder: Path, config: JobConfig, progress: Progress) -> str:
    """Score a run's prompts, own and generated, on today's test sets, and return the table.

    A run that was there already may have been made for others.
    """
    from diffuprompt.cli.summary import summary
    from diffuprompt.jobs import Evaluation, evaluate_run
    from diffuprompt.record import read_record
    from diffuprompt.report import Source

    quick = Evaluation(controls="none", oracle=False)
    others = config.test_data or None
    path = evaluate_run(folder, evaluation=quick, test_data=others, progress=progress)
    return summary([Source(path=path, record=read_record(path))])


def score(folder: Path, config: JobConfig, progress: Progress) -> str:
    """Score a run's prompts, own and generated, on its test pictures, and say how good they are.

    `diffuprompt evaluate` adds controls to the same record and scores nothing twice.
    """
    from diffuprompt.cli.held_out import held_out
    from diffuprompt.jobs import Evaluation, evaluate_run, zero_shot_hits
    from diffuprompt.learners import UNTRAINED
    from diffuprompt.record import read_record

    quick = Evaluation(controls="none", oracle=False)
    others = config.test_data or None
    path = evaluate_run(folder, evaluation=quick, test_data=others, progress=progress)
    record = read_record(path)
    trained = record.job.learner != UNTRAINED
    return held_out(record, zero_shot_hits(folder, progress) if trained else ())


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
    for target in prepared.targets:
        title = f"test images ({target.manifest.name}, {target.subset})"
        rows[title] = len(target.manifest.splits["test"])
    rows |= {f"stage {name}": key for name, key in prepared.chain.keys.items()}
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}} = {rows[key]}" for key in rows)
