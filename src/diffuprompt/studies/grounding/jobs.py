"""Which jobs the grounding study is made of, the most telling first; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.jobs import GroundingJobConfig, grounding_run
from diffuprompt.studies.grounding.design import (
    ABLATIONS,
    FROZEN,
    METHODS,
    OURS,
    REGRESSION,
    SEEDS,
    TRANSFERS,
    WORLDS,
    Ablation,
    Entry,
    World,
)

FIRST = (FROZEN, OURS, REGRESSION)
OF_MASKS = ("vae", "generator")  # what settings of stages 1 and 2 begin with
GROUPS = ("frozen", "control", "ours", "rival")  # after these


@dataclass(frozen=True, kw_only=True)
class SharedFields:
    """What all jobs of the study have in common; the fields are `GroundingJobConfig`'s."""

    data_root: Path | None = None
    overrides: tuple[str, ...] = ()
    setting: str = ""
    runs_dir: Path = Path("runs")
    device: str = "auto"
    workers: int = 1

    def job(
        self,
        world: str,
        method: str,
        seed: int,
        *,
        test: tuple[str, ...] = (),
        overrides: tuple[str, ...] = (),
        masks_from: str = "",
        setting: str = "",
    ) -> GroundingJobConfig:
        """Return one job; ``overrides`` and ``setting`` follow the common ones."""
        return GroundingJobConfig(
            data=world,
            data_root=self.data_root,
            test=test,
            masks_from=masks_from,
            method=method,
            seed=seed,
            overrides=(*self.overrides, *overrides),
            setting=" ".join(name for name in (self.setting, setting) if name),
            runs_dir=self.runs_dir,
            device=self.device,
            workers=self.workers,
        )


def grounding_jobs(
    worlds: Sequence[str] = (),
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = (),
    *,
    ablations: bool = True,
    shared: SharedFields = SharedFields(),
) -> list[GroundingJobConfig]:
    """Return the study's jobs in an order in which it is useful wherever it is cut off.

    Seed by seed and world by world: the frozen detector, Diff-Prompt, regression; then controls,
    Diff-Prompt as published and as released, rivals; ablations and transfers last.

    Args:
        worlds: names; none for all.
        seeds: of main rows. A row that is asked for one seed only (what is not trained, and the
            published forms) has the first one of the study, whichever others are given; so have
            ablations. Where ``methods`` names such a row, it has the first one given.
        methods: keys of rows; none for all.
        ablations: whether ablations and transfers of Diff-Prompt are there, where it is.
        shared: what all jobs have in common.

    Raises:
        ConfigError: a world, method or override is unknown.
    """
    chosen = [world for world in WORLDS if world.name in _known("--worlds", worlds, WORLD_NAMES)]
    named = _known("--methods", methods, [entry.key for entry in METHODS])
    entries = sorted((e for e in METHODS if e.key in named), key=_order)
    if not seeds:
        raise ConfigError("--seeds: expected at least one")
    jobs = [
        shared.job(
            world.name,
            entry.key,
            seed,
            test=_tests(world, entry.key),
            overrides=world.overrides,
        )
        for seed in seeds
        for world in chosen
        for entry in entries
        if seed in _seeds_of(entry, seeds, is_named=bool(methods))
    ]
    if ablations and OURS in named and SEEDS[0] in seeds:
        jobs += [job for world in chosen for job in _varied(world, shared)]
    return jobs


WORLD_NAMES = [world.name for world in WORLDS]


def _order(entry: Entry) -> tuple[int, int]:
    if entry.key in FIRST:
        return (0, FIRST.index(entry.key))
    return (1, GROUPS.index(entry.group))


def _seeds_of(entry: Entry, seeds: Sequence[int], *, is_named: bool) -> Sequence[int]:
    if entry.seeds == len(SEEDS):
        return seeds
    own = [seed for seed in seeds if seed in SEEDS[: entry.seeds]]
    return own or (seeds[: entry.seeds] if is_named else ())


def _tests(world: World, method: str) -> tuple[str, ...]:
    """Return test sets: those beside the world's own only for what generalization is asked of."""
    return (world.name, *(world.others if method in (FROZEN, OURS) else ()))


def _varied(world: World, shared: SharedFields) -> Iterator[GroundingJobConfig]:
    main = grounding_run(
        shared.job(world.name, OURS, SEEDS[0], overrides=world.overrides)
    ).settings.to_json()
    for varied in (*ABLATIONS, *TRANSFERS):
        if varied.world == world.name and not varied.is_in(main):
            yield shared.job(
                world.name,
                OURS,
                SEEDS[0],
                test=varied.tests,
                overrides=(*_overrides(world, varied), *varied.overrides),
                masks_from=varied.masks_from,
                setting=varied.setting,
            )


def _overrides(world: World, varied: Ablation) -> tuple[str, ...]:
    """Return a world's; of a transfer those of stages 1 and 2 are of the world they come from."""
    if not varied.masks_from:
        return world.overrides
    (source,) = (other for other in WORLDS if other.name == varied.masks_from)
    own = [text for text in world.overrides if not text.startswith(OF_MASKS)]
    return (*own, *(text for text in source.overrides if text.startswith(OF_MASKS)))


def _known(option: str, asked: Sequence[str], known: list[str]) -> Sequence[str]:
    """Return what is asked for, or all; raises `ConfigError` naming all that is unknown."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        hint = near_miss(unknown[0], known)
        raise ConfigError(
            f"{option}: expected some of {', '.join(known)}; got {', '.join(unknown)}.{hint}"
        )
    return asked or known
