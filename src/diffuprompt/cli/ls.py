"""`diffuprompt ls`: what can be named in the other verbs, and what is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import ConfigError, near_miss

EXAMPLES = """
diffuprompt ls learners
diffuprompt ls datasets 'scenes*'
diffuprompt ls presets 'promptsrc/*'
diffuprompt ls runs --runs-dir runs
"""
WRAP = 72  # characters of the last column
Listing = tuple[list[str], list[list[object]]]  # header and rows; the first column is the name


@dataclass(frozen=True, kw_only=True)
class Args:
    """List what can be named in the other verbs, and what is there already."""

    kind: Annotated[Positional[str], tyro.conf.arg(metavar="KIND")]
    """learners, generators, backbones, datasets, presets or runs."""
    glob: Annotated[Positional[str], tyro.conf.arg(metavar="GLOB")] = "*"
    """Only names that match."""
    runs_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    """Where runs are kept."""


def run(args: Args) -> int:
    """Print a table of the names that match."""
    if args.kind not in KINDS:
        hint = near_miss(args.kind, tuple(KINDS))
        raise ConfigError(f"expected one of {', '.join(KINDS)}; got {args.kind!r}.{hint}")
    from diffuprompt.cli.console import table

    header, rows = KINDS[args.kind](args)
    rows = [row for row in rows if fnmatchcase(str(row[0]), args.glob)]
    lines = [line for row in rows for line in _wrapped(row)]
    where = f" in {args.runs_dir}" if args.kind == "runs" else ""
    print(table(header, lines) if rows else f"no {args.kind} match {args.glob!r}{where}")
    return 0


def learners(args: Args) -> Listing:
    """Names, options and first sentences of the learners."""
    from diffuprompt.learners import METHODS, settable

    rows: list[list[object]] = [
        [name, method.about, _keys(type(method.options), list(settable(method.options)))]
        for name, method in METHODS.items()
    ]
    return ["learner", "what it is", "keys for --set"], rows


def _keys(config: type, names: Sequence[str], section: str = "") -> str:
    """Return keys, and behind those of numbers the range of what they take."""
    from diffuprompt.ranges import hints, range_of

    found = []
    for name in names:
        limit = range_of(hints(config)[name])
        key = f"{section}.{name}" if section else name
        found.append(key if limit is None else f"{key} ({limit})")
    return ", ".join(found)


def generators(args: Args) -> Listing:
    """Names and keys of the generators."""
    from diffuprompt.generators import KINDS, NAMED_SETTINGS, FitConfig, OverfitConfig

    rows: list[list[object]] = [["none", "the learner's own prompts", ""]]
    for name, kind in KINDS.items():
        shared = {"overfit": OverfitConfig, "fit": FitConfig}
        keys = [_keys(config, [f.name for f in fields(config)], s) for s, config in shared.items()]
        keys.append(_keys(kind.config, kind.reads, kind.section))
        rows.append([name, kind.about, ", ".join(keys)])
    for named in NAMED_SETTINGS:
        values = ", ".join(f"{key}={value}" for key, value in named.settings.items())
        rows.append([f"{named.section}.preset={named.name}", named.about, values])
    return ["generator", "what it is", "keys for --set"], rows


def presets(args: Args) -> Listing:
    """Recipes by learner; ``auto`` chooses among those of the learner."""
    from diffuprompt.learners import all_presets

    rows: list[list[object]] = [
        [
            f"{p.learner}/{p.name}",
            p.train.epochs,
            p.train.batch,
            f"{p.train.lr:g}",
            ", ".join(f"{key} {value:.2f}" for key, value in p.published.items()),
            p.source,
        ]
        for p in all_presets()
    ]
    return ["learner/preset", "epochs", "batch", "lr", "published", "source"], rows


def backbones(args: Args) -> Listing:
    """Backbones that have a name of their own, and where they are."""
    rows: list[list[object]] = [
        [name, where or ("from the hub" if "/" in name else "not found")]
        for name, where in found_backbones().items()
    ]
    return ["backbone", "where (--backbone also takes any CLIP folder or hub id)"], rows


def found_backbones() -> dict[str, str]:
    """Return where each backbone with a name is on this machine, empty where it is not."""
    from diffuprompt.checkpoints import BUNDLED, PHOTO, find_local, known_names

    names = dict.fromkeys([BUNDLED, PHOTO, *known_names()])
    return {name: str(find_local(name) or "") for name in names}


def datasets(args: Args) -> Listing:
    """Names of the catalog and of the user's own, and which are on this machine."""
    from diffuprompt.data import CATALOG, CLASSES, HALVES, SCENE_STYLES, registered

    rows: list[list[object]] = [
        [name, f"synthetic scenes, {style}", len(CLASSES), "", "", "drawn on first use"]
        for name, style in SCENE_STYLES.items()
    ]
    for name, own in registered().items():
        rows.append([name, "your own", "", "", "", own.path])
    for name, where in found_datasets().items():
        entry = CATALOG[name]
        sizes = " / ".join(f"{size:,}" if size else "-" for size in entry.sizes)
        licence = entry.provenance.licence
        rows.append([name, entry.title, entry.num_classes, sizes, licence, where or "not found"])
    for name, half in HALVES.items():
        rows.append([name, "half of Caltech101", len(half), "", "", "those of the whole"])
    return ["data set", "title", "classes", "train / val / test", "licence", "images"], rows


def found_datasets() -> dict[str, str]:
    """Return each published data set's image folder on this machine, empty where not found."""
    from diffuprompt.data import CATALOG, image_places

    found = {}
    for name, entry in CATALOG.items():
        found[name] = next((str(p) for p in image_places(entry) if p.is_dir()), "")
    return found


def runs(args: Args) -> Listing:
    """Runs by name with their state and what they are runs of."""
    from diffuprompt.cli.runs import list_runs

    keys = ("dataset", "backbone", "learner", "generator", "shots", "seed")
    rows: list[list[object]] = [
        [run.folder.name, run.state, *(run.config.get(key) for key in keys)]
        for run in list_runs(args.runs_dir)
    ]
    return ["run", "state", *keys], rows


def _wrapped(row: list[object]) -> list[list[object]]:
    """Break a long last cell over several lines; the other cells of those stay blank."""
    if not isinstance(row[-1], str) or len(row[-1]) <= WRAP:
        return [row]
    first, *others = wrap(row[-1], WRAP, break_long_words=False, break_on_hyphens=False)
    blank: list[object] = [""] * (len(row) - 1)
    return [[*row[:-1], first], *([*blank, other] for other in others)]


KINDS: dict[str, Callable[[Args], Listing]] = {
    "learners": learners,
    "generators": generators,
    "backbones": backbones,
    "datasets": datasets,
    "presets": presets,
    "runs": runs,
}
