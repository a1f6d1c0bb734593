"""Making the expressions of a world, in several processes where there are many.

Expression i of (world, split, seed, domain) is the same whatever the count and the workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count as counting
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from diffuprompt.data import STYLES
from diffuprompt.engine import NULL, Progress
from diffuprompt.errors import ConfigError
from diffuprompt.grounding.expressions import Expression
from diffuprompt.grounding.worlds.collages import CollageWorld
from diffuprompt.grounding.worlds.cutouts import read_cutouts
from diffuprompt.grounding.worlds.made import MadeExpressions
from diffuprompt.grounding.worlds.picture import Picture, Split, World
from diffuprompt.grounding.worlds.scenes import CrowdWorld, SceneWorld

WorldName = Literal["scenes", "crowds", "collages"]
Domain = Literal["usual", "held-out", "sketch", "noisy", "inverted", "painted", "base", "new"]
WORLDS: tuple[WorldName, ...] = get_args(WorldName)
DOMAINS: dict[WorldName, tuple[Domain, ...]] = {
    "scenes": ("usual", "held-out", "sketch", "noisy", "inverted", "painted"),
    "crowds": ("usual",),
    "collages": ("usual", "base", "new"),
}
PER_PICTURE: dict[WorldName, int] = {"scenes": 2, "crowds": 4, "collages": 4}
COUNTS: dict[WorldName, dict[Split, int]] = {
    "scenes": {"train": 20_000, "val": 1_000, "test": 2_400},
    "crowds": {"train": 12_000, "val": 800, "test": 2_400},
    "collages": {"train": 12_000, "val": 800, "test": 2_400},
}
FIXED_SEED = 0  # of validation and test pictures, whatever the training's
CHUNK = 16  # pictures of one piece of work


def make_expressions(
    world: WorldName,
    split: Split,
    *,
    seed: int,
    count: int | None = None,
    domain: Domain = "usual",
    workers: int = 0,
    progress: Progress = NULL,
    root: Path | None = None,
) -> MadeExpressions:
    """Return the first ``count`` expressions of a world.

    Args:
        world: which one.
        split: splits share no picture, and collages no photograph.
        seed: of the training pictures; validation and test are the same for all seeds.
        count: how many; None for the world's own number (`COUNTS`).
        domain: "usual"; of scenes, "held-out" (only looks that pre-training never shows are meant)
            or a style (the usual expressions, drawn otherwise); of collages, "base" or "new" (only
            objects of the first or second half of the class names are meant).
        workers: processes; 0 makes them in this one.
        progress: told of expressions.
        root: folder of the data sets, for collages; None as in `data_folders`.

    Raises:
        ConfigError: the world or split has no such domain.
        DataError: collages without the cut-outs.
    """
    made = open_world(world, split, seed=seed, domain=domain, root=root)
    wanted = COUNTS[world][split] if count is None else count
    pixels: list[np.ndarray] = []
    pictures: list[int] = []
    masks: list[np.ndarray] = []
    expressions: list[Expression] = []
    with progress.task(f"{world} {split}", total=wanted) as task:
        for one in _pictures(made, workers, wanted):
            kept = one.expressions[: wanted - len(expressions)]
            if kept:
                pictures += [len(pixels)] * len(kept)
                pixels.append(one.pixels)
                masks += one.masks[: len(kept)]
                expressions += kept
                task.advance(len(kept))
            if len(expressions) == wanted:
                break
    return MadeExpressions(
        pixels_PHW3=torch.from_numpy(np.stack(pixels)),
        pictures_E=torch.tensor(pictures),
        masks_EF=torch.from_numpy(np.stack(masks)),
        expressions=expressions,
    )


def open_world(
    world: WorldName,
    split: Split,
    *,
    seed: int,
    domain: Domain = "usual",
    root: Path | None = None,
) -> World:
    """Return the pictures of a world by number; see `make_expressions`."""
    if domain not in DOMAINS[world] or (domain, split) == ("held-out", "train"):
        raise ConfigError(
            f"domain: expected one of {', '.join(DOMAINS[world])} for the {split} split of "
            f"{world} (nothing is held out in training), got {domain!r}"
        )
    seed = seed if split == "train" else FIXED_SEED
    count = PER_PICTURE[world]
    if world == "collages":
        targets = domain if domain in ("base", "new") else "all"
        return CollageWorld(
            cutouts=read_cutouts(split, root), split=split, seed=seed, count=count, targets=targets
        )
    if world == "crowds":
        return CrowdWorld(split=split, seed=seed, count=count)
    return SceneWorld(
        split=split,
        seed=seed,
        count=count,
        style=domain if domain in STYLES else "clean",
        targets="held-out" if domain == "held-out" else "all",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Described:
    """A picture with its expressions, as small as it travels between processes."""

    pixels: np.ndarray
    masks: list[np.ndarray]
    expressions: list[Expression]


def _described(picture: Picture) -> _Described:
    return _Described(
        pixels=np.asarray(picture.image),
        masks=[np.packbits(picture.masks[one.target]) for one in picture.references],
        expressions=[
            Expression(
                name=f"{picture.name}/{one.target}",
                picture=picture.name,
                text=one.text,
                root=one.root,
                box=tuple(picture.boxes[one.target].tolist()),
                kind=one.kind,
            )
            for one in picture.references
        ],
    )


def _pictures(world: World, workers: int, wanted: int) -> Iterator[_Described]:
    """Yield pictures in order, for ever."""
    if not workers or wanted <= CHUNK:
        yield from (_described(world(index)) for index in counting())
    # spawned, as a fork would copy torch's threads in mid-work
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_remember, initargs=(world,)
    )
    ahead: deque[Future[list[_Described]]] = deque()
    try:
        for start in counting(step=CHUNK):
            ahead.append(pool.submit(_chunk, range(start, start + CHUNK)))
            if len(ahead) > 4 * workers:
                yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_own_world: list[World] = []  # of a worker: cut-outs are sent to it once, not with each chunk


def _remember(world: World) -> None:
    _own_world[:] = [world]


def _chunk(indices: Sequence[int]) -> list[_Described]:
    return [_described(_own_world[0](index)) for index in indices]
