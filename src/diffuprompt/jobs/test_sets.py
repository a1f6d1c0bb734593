"""The test sets of a run: its own, by its protocol, and any other data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.data import Manifest, base_new, doubtful_names, open_dataset
from diffuprompt.engine import Progress
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.protocols import Selection, select
from diffuprompt.record import Record, Score, Variant
from diffuprompt.runs import Contents
from diffuprompt.stages import picture_hashes, scoring_key

log = logging.getLogger(__name__)
SUBSETS = ("base", "new", "all")


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Images to score: where they are, which, among which names, and a hash of all that.

    Attributes:
        dataset: its name.
        subset: "base" or "new" half of the classes, or "all".
        root: where the paths of the images begin.
        selection: the images, and the class names to choose from.
        content: hash of pictures, labels and names.
    """

    dataset: str
    subset: str
    root: Path
    selection: Selection
    content: str

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.dataset}, {self.subset}"


TestSet.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def own_test_sets(
    manifest: Manifest, tests: dict[str, Selection], contents: Contents, progress: Progress
) -> list[TestSet]:
    """Return the subsets that a run's protocol tests."""
    return [
        _test_set(manifest, subset, selection, contents, progress)
        for subset, selection in tests.items()
    ]


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
        spec: what `open_dataset` takes; ":base", ":new" or ":all" behind it choose a half of the
            classes, by default all.
        root: where images or data sets are, as for `open_dataset`.
        contents: hashes of files.
        progress: shows how pictures are hashed.
        allow_outside: read files outside the folder of the images too.

    Raises:
        DataError: there is no such data set, or a class has no test image.
    """
    name, colon, subset = spec.rpartition(":")
    if not colon or subset not in SUBSETS:
        name, subset = spec, "all"
    manifest = open_dataset(name, root=root, check=False, allow_outside=allow_outside)
    for doubt in doubtful_names(manifest):
        log.warning("%s", doubt)
    manifest.check(needs=("test",))
    if subset != "all":
        manifest = base_new(manifest)[SUBSETS.index(subset)]
        if len(manifest.classes) < 2:
            raise DataError(f"{spec}: expected at least two classes, got {manifest.classes}")
    return _test_set(manifest, subset, select(manifest, "test"), contents, progress)


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


def is_of(score: Score, tests: Sequence[TestSet]) -> bool:
    """Whether a score is of the images that its test set holds today, as far as one can tell.

    Records of 0.1 do not say which bytes they are of.
    """
    same = [t for t in tests if (t.dataset, t.subset) == (score.dataset, score.subset)]
    return not score.content or all(t.content == score.content for t in same)


def _test_set(
    manifest: Manifest,
    subset: str,
    selection: Selection,
    contents: Contents,
    progress: Progress,
) -> TestSet:
    paths = [manifest.root / item.path for item in selection.items]
    hashes = picture_hashes(contents, paths, progress)
    return TestSet(
        dataset=manifest.name,
        subset=subset,
        root=manifest.root,
        selection=selection,
        content=scoring_key(selection, hashes),
    )
