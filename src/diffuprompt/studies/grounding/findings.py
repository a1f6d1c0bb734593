"""What the records of the grounding study say: rows, intervals, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from diffuprompt.errors import DataError
from diffuprompt.jobs import VAL
from diffuprompt.report import (
    RESAMPLES,
    ExpressionIntervals,
    GroundingSource,
    Interval,
    MethodRow,
    method_rows,
)
from diffuprompt.studies.grounding.design import (
    ABLATIONS,
    FROZEN,
    METHODS,
    OURS,
    TRANSFERS,
    WORLDS,
    Ablation,
    World,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldFindings:
    """What is known of one world.

    Attributes:
        world: which one.
        rows: main rows by their keys; what is not there has no record.
        varied: rows of ablations and transfers by their settings; the main row where it has them.
        tests: intervals by test set, its own first.
        others: rows with settings that are none of the study's.
    """

    world: World
    rows: dict[str, MethodRow]
    varied: dict[str, MethodRow]
    tests: dict[str, ExpressionIntervals]
    others: tuple[MethodRow, ...] = ()

    @property
    def own(self) -> ExpressionIntervals:
        """Intervals of its own test set."""
        return self.tests[self.world.name]

    def mean(self, key: str, measure: str, *, kind: str = "", test: str = "") -> Interval | None:
        """Return a main row's mean; None where it is missing."""
        row, intervals = self.rows.get(key), self.tests[test or self.world.name]
        return None if row is None else intervals.mean(row, measure, kind)

    def difference(
        self, a: str, b: str, measure: str, *, kind: str = "", test: str = ""
    ) -> Interval | None:
        """Return the paired difference of two main rows; None where one is missing."""
        left, right = self.rows.get(a), self.rows.get(b)
        if left is None or right is None:
            return None
        return self.tests[test or self.world.name].difference(left, right, measure, kind)

    def timed(self, row: MethodRow) -> MethodRow:
        """Return the part of a row whose seconds can be compared with other rows'.

        These are its records of the machine that most records of the world come from, else of the
        one that most of its own come from: seconds of several machines have no mean.
        """
        everywhere = Counter(device for each in self.rows.values() for device in each.devices)
        own = Counter(row.devices)
        best = max(own, key=lambda device: (everywhere[device], own[device]))
        records = [r for r, d in zip(row.records, row.devices, strict=True) if d == best]
        return replace(row, records=tuple(records))

    @property
    def missing(self) -> tuple[str, ...]:
        """What is asked for and not there, in words."""
        return tuple(self._missing())

    def _missing(self) -> Iterator[str]:
        for entry in METHODS:
            row = self.rows.get(entry.key)
            if row is None:
                yield f"{entry.title} ({entry.key})"
                continue
            if self.world.name not in row.tests:
                yield f"{entry.title} on its own test set"
            if len(row.seeds) < entry.seeds:
                yield f"{entry.title}: {len(row.seeds)} of {entry.seeds} seeds are there"
        for test in self.world.others:
            for key in (FROZEN, OURS):
                row = self.rows.get(key)
                if row is not None and test not in row.tests:
                    yield f"{title_of(key)} on {test}{_of_seeds(row, row.on(test))}"
        for varied in (*ABLATIONS, *TRANSFERS):
            row = self.varied.get(varied.setting)
            if varied.world != self.world.name:
                continue
            if row is None or any(test not in row.tests for test in varied.tests):
                yield f"{varied.title} ({varied.setting})"


def _of_seeds(row: MethodRow, scored: MethodRow | None) -> str:
    return "" if scored is None else f": {len(scored.seeds)} of {len(row.seeds)} seeds are there"


def title_of(key: str) -> str:
    """Return what tables call a row of the study."""
    return next(entry.title for entry in METHODS if entry.key == key)


def find(
    sources: Sequence[GroundingSource], *, resamples: int = RESAMPLES
) -> tuple[WorldFindings, ...]:
    """Return what the records say of every world of the study, of those without records too.

    Raises:
        DataError: a record is of no world or row of the study, or records do not fit together
            (see `report.method_rows`).
    """
    strangers = [f"{s.path}: {problem}" for s in sources for problem in _strange(s)]
    if strangers:
        raise DataError(
            "records that are none of the grounding study; keep them in another folder, or add "
            "them to its design:\n  " + "\n  ".join(strangers)
        )
    rows = method_rows(sources)
    return tuple(_of_world(world, rows, resamples) for world in WORLDS)


def _of_world(world: World, rows: Sequence[MethodRow], resamples: int) -> WorldFindings:
    own = [row for row in rows if row.dataset == world.name]
    scored = [test for row in own for test in row.tests if not test.endswith(f"/{VAL}")]
    tests = dict.fromkeys([world.name, *world.others, *scored])
    keys = [entry.key for entry in METHODS]
    main = {row.method: row for row in own if not row.setting}
    known = [v.setting for v in (*ABLATIONS, *TRANSFERS) if v.world == world.name]
    varied = {row.setting: row for row in own if row.method == OURS and row.setting in known}
    if OURS in main:
        configs = [record.config for record in main[OURS].records]
        as_it_is = [v for v in ABLATIONS if v.world == world.name and all(map(v.is_in, configs))]
        varied = {**{v.setting: main[OURS] for v in as_it_is}, **varied}
    return WorldFindings(
        world=world,
        rows={key: main[key] for key in keys if key in main},
        varied=varied,
        tests={test: ExpressionIntervals(own, test, resamples=resamples) for test in tests},
        others=tuple(
            row for row in own if row.setting and not (row.method == OURS and row.setting in known)
        ),
    )


def is_of_study(source: GroundingSource) -> bool:
    """Whether a record is of a world and row of the study."""
    return not list(_strange(source))


def _strange(source: GroundingSource) -> Iterator[str]:
    job = source.record.job
    worlds, keys = [w.name for w in WORLDS], [e.key for e in METHODS]
    if job.dataset not in worlds:
        yield f"world {job.dataset!r}, expected one of {', '.join(worlds)}"
    if job.method not in keys:
        yield f"method {job.method!r}, expected one of {', '.join(keys)}"


def varied_of(world: World) -> dict[str, list[Ablation]]:
    """Return the ablations and transfers of a world by their groups."""
    out: dict[str, list[Ablation]] = {}
    for varied in (*ABLATIONS, *TRANSFERS):
        if varied.world == world.name:
            out.setdefault(varied.group, []).append(varied)
    return out
