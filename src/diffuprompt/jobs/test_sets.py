"""The test sets of a run: its own, by its protocol, and any other data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffuprompt.engine import Progress
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.prepared import Prepared
from diffuprompt.jobs.sources import Target, open_target, published_name
from diffuprompt.protocols import Selection, select
from diffuprompt.record import OPEN, Record, Score, Variant
from diffuprompt.runs import Contents
from diffuprompt.stages import picture_hashes, scoring_key


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Images to score: where they are, which, among which names, and a hash of all that.

    Attributes:
        dataset: its name.
        subset: "base" or "new" half of the classes, "all", or "open": images of all classes among
            the names of base and then of new ones.
        root: where the paths of the images begin.
        selection: the images, and the class names to choose from.
        content: hash of pictures, labels and names.
        catalog: the name under which the data set was published; "" for a user's own.
    """

    dataset: str
    subset: str
    root: Path
    selection: Selection
    content: str
    catalog: str = ""

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.dataset}, {self.subset}"


TestSet.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def own_test_sets(
    source: Target, tests: dict[str, Selection], contents: Contents, progress: Progress
) -> list[TestSet]:
    """Return the subsets of a run's own data set that its protocol tests."""
    return [
        _test_set(replace(source, subset=subset), selection, contents, progress)
        for subset, selection in tests.items()
    ]


def other_test_sets(
    targets: Sequence[Target], contents: Contents, progress: Progress
) -> list[TestSet]:
    """Return what other data a run is scored on."""
    return [_test_set(t, select(t.manifest, "test"), contents, progress) for t in targets]


def open_test_set(
    spec: str,
    root: Path | None,
    contents: Contents,
    progress: Progress,
    *,
    allow_outside: bool = False,
) -> TestSet:
    """Open the test images of another data set.

    Args:
        spec: see `open_target`.
        root: where images or data sets are, as for `open_dataset`.
        contents: hashes of files.
        progress: shows how pictures are hashed.
        allow_outside: read files outside the folder of the images too.

    Raises:
        DataError: there is no such data set, or a class has no test image.
    """
    target = open_target(spec, root, allow_outside=allow_outside)
    return other_test_sets([target], contents, progress)[0]


def wanted_test_sets(prepared: Prepared, progress: Progress, *, open_world: bool) -> list[TestSet]:
    """Return everything that a job is scored on.

    With ``open_world`` the test images of base and new classes among the names of both, too.

    Raises:
        ConfigError: ``open_world``, and the protocol has no new classes.
    """
    manifest, contents, tests = prepared.manifest, prepared.contents, dict(prepared.roles.tests)
    if open_world:
        both = prepared.roles.open_world
        if both is None:
            raise ConfigError(
                f"open_world: the protocol {prepared.resolved.protocol} has no new classes, so "
                "there is nothing to offer beside those that were trained"
            )
        tests[OPEN] = both
    source = Target(manifest=manifest, catalog=published_name(prepared.job.data))
    own = own_test_sets(source, tests, contents, progress)
    return [*own, *other_test_sets(prepared.targets, contents, progress)]


def check_distinct(sets: list[TestSet]) -> None:
    """Raise `ConfigError` where two test sets with one name hold different images."""
    seen: dict[tuple[str, str], TestSet] = {}
    for one in sets:
        other = seen.setdefault((one.dataset, one.subset), one)
        if other.content != one.content:
            raise ConfigError(
                f"{one.root} and {other.root}: two different test sets that are both called "
                f"{one.title!r}; rename the folder of one of them"
            )


def missing(
    record: Record | None, tests: Sequence[TestSet], variants: Sequence[Variant]
) -> list[tuple[TestSet, Variant]]:
    """Return what a record does not hold of the same images: test sets times ways of prompts."""
    there = set()
    for score in record.scores if record is not None else ():
        if is_of(score, tests):
            there.add((score.dataset, score.subset, score.variant))
    return [(t, v) for t in tests for v in variants if (t.dataset, t.subset, v) not in there]


def unscored(
    record: Record | None, tests: Sequence[TestSet], evaluation: Evaluation, generator: str
) -> list[tuple[TestSet, Variant]]:
    """Return what a record does not hold of what an evaluation asks for, see `missing`.

    In the open world only methods are scored, and the control that is of it alone.
    """
    usual = [t for t in tests if t.subset != OPEN]
    opened = [t for t in tests if t.subset == OPEN]
    out = missing(record, usual, evaluation.variants(generator))
    return out + missing(record, opened, evaluation.open_variants(generator))


def is_of(score: Score, tests: Sequence[TestSet]) -> bool:
    """Whether a score is of the images that its test set holds today, as far as one can tell.

    Records of 0.1 do not say which bytes they are of.
    """
    same = [t for t in tests if (t.dataset, t.subset) == (score.dataset, score.subset)]
    return not score.content or all(t.content == score.content for t in same)


def _test_set(
    target: Target, selection: Selection, contents: Contents, progress: Progress
) -> TestSet:
    manifest = target.manifest
    paths = [manifest.root / item.path for item in selection.items]
    hashes = picture_hashes(contents, paths, progress)
    return TestSet(
        dataset=manifest.name,
        subset=target.subset,
        root=manifest.root,
        selection=selection,
        content=scoring_key(selection, hashes),
        catalog=target.catalog,
    )
