"""Commands to reproduce the records, free of seeds' repetitions and of one machine's paths."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

SEED = "--seed"
TRAIN, EVALUATE = "diffuprompt train", "diffuprompt evaluate runs/*"


def generic_commands(commands: Sequence[str]) -> tuple[str, ...]:
    """Return each distinct command once, with a shell loop over its seeds, then how to score.

    Absolute and home paths become their last component, so that no machine's folders are shown.
    """
    grouped: dict[str, list[str]] = {}
    for command in commands:
        if not command.strip():
            continue
        text, seed = _split_seed(command)
        seeds = grouped.setdefault(text, [])
        if seed is not None and seed not in seeds:
            seeds.append(seed)
    lines = [_join(text, seeds) for text, seeds in grouped.items()]
    return (*lines, EVALUATE) if any(TRAIN in line for line in lines) else tuple(lines)


def _join(text: str, seeds: Sequence[str]) -> str:
    if len(seeds) > 1:
        return f"for seed in {' '.join(seeds)}; do {text}; done"
    return text.replace('"$seed"', seeds[0]) if seeds else text


def _split_seed(command: str) -> tuple[str, str | None]:
    """Return the command with ``"$seed"`` in its seed's place, and the seed."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unbalanced quote: show the text as it is
        return " ".join(command.split()), None
    seed: str | None = None
    out: list[str] = []
    for i, word in enumerate(words):
        if i > 0 and words[i - 1] == SEED:
            seed = word
            out.append('"$seed"')
        elif word.startswith(f"{SEED}="):
            seed = word.removeprefix(f"{SEED}=")
            out.append(f'{SEED} "$seed"')
        else:
            out.append(shlex.quote(_portable(word)))
    return " ".join(out), seed


def _portable(word: str) -> str:
    head, sep, tail = word.partition("=")
    if sep and head.startswith("-"):
        return f"{head}={_portable(tail)}"
    if word.startswith(("/", "~")) and len(word) > 1:
        return PurePosixPath(word).name or word
    return word
