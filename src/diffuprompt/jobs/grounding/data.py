"""Which expressions a grounding job trains and tests on: made worlds, or files.

A test set is called by its world, with a domain behind a slash: "scenes", "scenes/held-out looks",
"crowds"; "scenes/val" are the expressions on which settings are chosen. Of files it is called by
its split: "testA".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from diffuprompt.engine import Progress
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding import (
    COUNTS,
    DOMAINS,
    Expressions,
    Part,
    WorldName,
    cutouts_hash,
    open_expressions,
)
from diffuprompt.jobs.grounding.job import VAL
from diffuprompt.runs import Stage, Store, digest
from diffuprompt.stages import expressions_stage, made_set

SPOKEN = {"held-out": "held-out looks"}  # domains -> names of test sets, where they differ
OTHERS = 1000  # test expressions of a world's other domains
OF_FILES = ("test", "testA", "testB", "val", "train", "all")


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Where expressions come from, and what keeps them.

    Attributes:
        data: a world's name, or a path.
        root: of data sets, or of pictures.
        store: of stages.
        workers: processes that make worlds.
        progress: shows it.
    """

    data: str
    root: Path | None
    store: Store
    workers: int
    progress: Progress

    @property
    def is_made(self) -> bool:
        """Whether it is a world and no file."""
        return self.data in DOMAINS

    @property
    def name(self) -> str:
        """What records call it."""
        return self.data if self.is_made else Path(self.data).name.split(".")[0]

    @cached_property
    def photographs(self) -> str:
        """A hash of what collages are made of."""
        return cutouts_hash(self.root)

    def split(self, split: str, *, seed: int, count: int, domain: str = "") -> ExpressionSet:
        """Return the expressions of a split; ``count`` 0: all, or a world's own number.

        Raises:
            ConfigError: the data have no such ``domain`` ("" for the usual one) to train on.
        """
        others = _others(self.data) if self.is_made else {}
        known = sorted(name for name in others if name not in SPOKEN.values())
        if domain and domain not in known:
            raise ConfigError(
                f"expressions.domain: expected one of {known} for {self.data}, got {domain!r}"
                if known
                else f"expressions.domain: {self.data} has no domains, got {domain!r}"
            )
        if self.is_made:
            own = others.get(domain, "usual")
            return self._world(self.data, split, own, seed=seed, count=count)
        return ExpressionSet(name=self.name, source=self, of_file=split, count=count)

    def test(self, name: str, *, count: int) -> ExpressionSet:
        """Return a test set by its name.

        Raises:
            ConfigError: there is none of this name.
        """
        if not self.is_made:
            if name not in OF_FILES:
                raise ConfigError(f"test: expected one of {list(OF_FILES)}, got {name!r}")
            return ExpressionSet(name=name, source=self, of_file=name, count=count)
        world, _, spoken = name.partition("/")
        if spoken == VAL and world in DOMAINS:
            return self._world(world, VAL, "usual", seed=0, count=count, name=name)
        others = _others(world)
        if world not in DOMAINS or (name != world and spoken not in others):
            known = [*DOMAINS, *(f"{w}/{other}" for w in DOMAINS for other in (VAL, *_others(w)))]
            raise ConfigError(f"test: expected one of {known}, got {name!r}")
        domain = others.get(spoken, "usual")
        return self._world(world, "test", domain, seed=0, count=count, name=name)

    def _world(
        self, world: str, split: str, domain: str, *, seed: int, count: int, name: str = ""
    ) -> ExpressionSet:
        known = COUNTS[cast(WorldName, world)]
        is_own = domain == "usual" or split == "train"
        stage = expressions_stage(
            world=world,
            split=split,
            domain=domain,
            seed=seed,
            count=count or (known[cast(Any, split)] if is_own else OTHERS),
            photographs=self.photographs if world == "collages" else "",
        )
        return ExpressionSet(name=name or world, source=self, stage=stage)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpressionSet:
    """A set that is opened when it is asked for.

    Attributes:
        name: what records call it.
        source: where it comes from.
        stage: of a made world.
        of_file: split of a file.
        count: of a file: how many are used, the first ones; 0 for all.
    """

    name: str
    source: Source
    stage: Stage | None = None
    of_file: str = ""
    count: int = 0

    @property
    def content(self) -> str:
        """What stages name it by: of a made world known without making it."""
        return self.expressions.content if self.stage is None else self.stage.key

    @cached_property
    def expressions(self) -> Expressions:
        """All of it.

        Raises:
            DataError: a file is missing or malformed, or there is not one expression.
        """
        source = self.source
        if self.stage is not None:
            return made_set(
                source.store,
                self.stage,
                workers=source.workers,
                progress=source.progress,
                root=source.root,
            )
        found: Expressions = open_expressions(source.data, self.of_file, pictures=source.root)
        if not len(found):
            raise DataError(f"{source.data}: no expression in the split {self.of_file!r}")
        total = min(self.count or len(found), len(found))
        return found if total == len(found) else Part(found, range(total))

    def halves(self, held: int) -> tuple[Piece, Piece]:
        """Return all but the last ``held`` expressions (a quarter at most), and these.

        Where none are held, both are all.
        """
        total = len(self.expressions)
        cut = total - min(held, total // 4)
        rest = range(cut, total) if cut < total else range(total)
        return Piece(of=self, rows=range(cut)), Piece(of=self, rows=rest)


@dataclass(frozen=True, eq=False, kw_only=True)
class Piece:
    """Some rows of a set."""

    of: ExpressionSet
    rows: Sequence[int]

    @property
    def source(self) -> Source:
        """Where they come from."""
        return self.of.source

    @property
    def content(self) -> str:
        """What stages name it by."""
        return digest([self.of.content, self.rows[0], len(self.rows)])

    @cached_property
    def expressions(self) -> Expressions:
        """These rows."""
        return Part(self.of.expressions, self.rows)


def refuse_without_masks(data: str, expressions: Expressions) -> None:
    """Raise `DataError` naming ``data`` where its expressions have no masks."""
    if not expressions.has_masks:
        raise DataError(
            f"{data}: Diff-Prompt learns from masks, and its annotations have none; add a "
            "segmentation to each, or take a method without maps, such as vpt or lora"
        )


def _others(world: str) -> dict[str, str]:
    """Return what a world's other domains are called in names of test sets, and the domains."""
    return {SPOKEN.get(d, d): d for d in DOMAINS.get(cast(WorldName, world), ())[1:]}
