"""`diffuprompt cp presets`: a recipe as a file to edit, for `diffuprompt train --config`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional
from diffuprompt.cli.show import find, recipe
from diffuprompt.errors import ConfigError, StorageError

EXAMPLES = """
diffuprompt cp presets promptsrc/base-to-new
diffuprompt cp presets promptsrc/base-to-new mine.toml
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write a recipe to a file that 'diffuprompt train --config' takes."""

    name: Annotated[Positional[str], tyro.conf.arg(metavar="LEARNER/PRESET")]
    """One of `diffuprompt ls presets`."""
    file: Annotated[Positional[Path | None], tyro.conf.arg(metavar="FILE.toml")] = None
    """Where to; by default LEARNER-PRESET.toml in this folder. Never overwritten."""


def run(args: Args) -> int:
    """Write the file and say how to train by it."""
    preset = find(args.name)
    path = args.file or Path(f"{preset.learner}-{preset.name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(recipe(preset))
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; give another name after the preset") from error
    except OSError as error:
        raise StorageError.of(path, error) from error
    print(f"written: {path}")
    print(f"next:    diffuprompt train --config {quote(str(path))} --data NAME")
    return 0
