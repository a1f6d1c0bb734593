"""`diffuprompt show presets`: one recipe in full, as the file that `cp presets` writes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.errors import ConfigError, near_miss

if TYPE_CHECKING:
    from diffuprompt.learners import Preset

EXAMPLES = """
diffuprompt show presets promptsrc/base-to-new
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Show every value of a recipe, where it is from, and its published numbers."""

    name: Annotated[Positional[str], tyro.conf.arg(metavar="LEARNER/PRESET")]
    """One of `diffuprompt ls presets`."""


def run(args: Args) -> int:
    """Print the recipe."""
    print(recipe(find(args.name)), end="")
    return 0


def find(name: str) -> Preset:
    """Return the preset called ``learner/preset``.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    from diffuprompt.learners import all_presets

    known = {f"{preset.learner}/{preset.name}": preset for preset in all_presets()}
    if name not in known:
        raise ConfigError(
            f"expected LEARNER/PRESET as 'diffuprompt ls presets' shows them, got {name!r}."
            f"{near_miss(name, tuple(known))}"
        )
    return known[name]


def recipe(preset: Preset) -> str:
    """Return the preset as TOML for ``train --config``, which resolves to the same job.

    Behind each value stands which others there may be.
    Values that TOML cannot say (null) are words, as they are after ``--set KEY=``.
    """
    from diffuprompt.learners import TrainConfig, find_method, settable
    from diffuprompt.ranges import limits

    method = find_method(preset.learner)
    numbers = ", ".join(
        f"{key}{' shots' if key.isdigit() else ''} {value:.2f}"
        for key, value in preset.published.items()
    )
    lines = [
        f"# {preset.learner}/{preset.name}: {method.about}",
        f"# source: {preset.source}",
        f"# published: {numbers or 'no numbers'}",
        f"# command: {preset.command}",
        "",
        f"learner = {_toml(preset.learner)}",
        f"preset = {_toml(preset.name)}  # what the run is called after; the values below count",
        "",
        "[set]",
    ]
    for key, value in asdict(preset.train).items():
        if key == "epochs" and preset.steps_per_shot:
            steps = f"{preset.steps_per_shot} steps per shot"
            lines.append(f'# "train.epochs" = {value}  # {steps}: left to the preset')
        elif key == "epochs" and preset.fewer_epochs:
            cases = [f"{fewer} below {shots} shots" for shots, fewer in sorted(preset.fewer_epochs)]
            lines.append(f'# "train.epochs" = {value}  # {", ".join(cases)}: left to the preset')
        else:
            lines.append(f'"train.{key}" = {_toml(value)}  # {limits(TrainConfig)[key]}')
    options = {**settable(method.options), **preset.options}
    wanted = limits(type(method.options))
    for key, value in options.items():
        if key == method.templates_in and key not in preset.options:
            lines.append(f'# "learner.{key}" = {_toml(value)}  # each data set has its own')
        else:
            lines.append(f'"learner.{key}" = {_toml(value)}  # {wanted[key]}')
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Write text, a number, a truth value or a list of texts; JSON's form of them is TOML's."""
    return json.dumps("null" if value is None else value, ensure_ascii=False)
