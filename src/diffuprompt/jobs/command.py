"""The command line of a job, for records and for people."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from diffuprompt.jobs.job import ONLY_HERE, JobConfig


def command(job: JobConfig) -> str:
    """Return the command line of a job, quoted for a shell, without what says where things are.

    Of a path only the last part is kept: the rest belongs to one machine.
    """
    words = ["diffuprompt", "train"]
    for f in dataclasses.fields(job):
        value = getattr(job, f.name)
        if f.name in ONLY_HERE:
            continue
        option = f"--{f.name.replace('_', '-')}"
        if f.name == "overrides":
            words += [word for text in value for word in ("--set", text)]
        elif f.name in ("data", "backbone"):
            words += [option, _portable(value)]
        elif isinstance(value, tuple):
            words += [option, *map(_portable, value)] if value else []
        elif value is True:
            words.append(option)
        elif value != f.default or f.name in ("learner", "shots", "seed"):
            words += [f"--{f.name}", str(value)]
    return shlex.join(words)


def _portable(value: str) -> str:
    """Return a name, and of a path on this machine the last part."""
    local = value.startswith((".", "~")) or Path(value).is_absolute()
    return Path(value).name if local else value
