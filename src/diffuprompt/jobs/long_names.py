"""Class names that do not fit into a backbone's context, found before a picture is read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.checkpoints import AUTO, Header, find_backbone, portable_name, read_header
from diffuprompt.data import Manifest, Problem, short
from diffuprompt.errors import DataError
from diffuprompt.jobs.job import JobConfig, resolve
from diffuprompt.learners import Options

log = logging.getLogger(__name__)


def long_names(root: Path, names: Sequence[str], options: Options, header: Header) -> list[Problem]:
    """Return one problem for each class name that leaves no room for a learner's other tokens."""
    tokenizer, length = header.tokenizer, header.config.text.context_length
    ahead = options.tokens_ahead(tokenizer)
    room = length - 2 - ahead  # start and end of text
    problems = []
    for name in names:
        count = len(tokenizer.encode(f"{name.replace('_', ' ')}."))
        if count > room:
            what = f"class name {short(name)} has {count} tokens with its full stop; at most {room}"
            what += f" fit beside {ahead} others into the backbone's {length}"
            problems.append(Problem(path=str(root), what=what, fix="shorten it"))
    return problems


def refuse_long_names(
    lists: Sequence[tuple[Path, Sequence[str]]], options: Options, header: Header
) -> None:
    """Raise one `DataError` with all `long_names` of several data sets."""
    problems = [p for root, names in lists for p in long_names(root, names, options, header)]
    if problems:
        raise DataError("\n  ".join(map(str, problems)))


def names_too_long(manifest: Manifest, backbone: str, data: str) -> list[Problem]:
    """Return what `prepare` would say of class names for a backbone and the default learner.

    ``auto`` is the backbone that training on ``data`` would take; where it is not on this machine
    yet, that is said in the log, and nothing is found.

    Raises:
        CheckpointError: the backbone cannot be read.
    """
    if backbone == AUTO:
        found = find_backbone(data)
        if found is None:
            log.info("no backbone is here yet to compare class names with; see --backbone")
            return []
        backbone = found
    header = read_header(backbone)
    resolved = resolve(
        JobConfig(data=manifest.name, backbone=backbone),
        dataset=manifest.name,
        backbone=portable_name(backbone),
        own_pictures=True,
        logit_scale=header.scale,
    )
    return long_names(manifest.root, manifest.classes, resolved.learner_options, header)
