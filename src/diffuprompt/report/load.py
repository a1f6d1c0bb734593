"""Find, read and check the records under some folders; broken or doubtful ones stop the report."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from diffuprompt.errors import DataError
from diffuprompt.reading import read_json
from diffuprompt.record import Record, read_record
from diffuprompt.record_grounding import SCHEMA as GROUNDING, GroundingRecord, read_grounding_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A record and the file that it came from."""

    path: Path
    record: Record


@dataclass(frozen=True, kw_only=True)
class GroundingSource:
    """A record of a grounding job and the file that it came from."""

    path: Path
    record: GroundingRecord


AnySource = TypeVar("AnySource", Source, GroundingSource)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What lies under the given paths: records by their task, runs without one, summaries.

    ``files`` are records of classification, and what is none or cannot be read.
    """

    files: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    summaries: tuple[Path, ...] = ()
    grounding: tuple[Path, ...] = ()


def find_records(paths: Sequence[Path]) -> Found:
    """List record files under ``paths`` at any depth.

    A folder that holds ``run.json`` or ``record.json`` is a run: its ``record.json`` is read and
    nothing else in it; without one the run is unfinished. In other folders every ``*.json`` is a
    record, but for summaries that a report made and for what benchmarks measured. Hidden folders
    are skipped, such as the stages that runs keep beside them. A path may also be one record file.

    Raises `DataError` when a path does not exist.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}")
    kinds: dict[str, dict[Path, Path]] = defaultdict(dict)
    for path in paths:
        for kind, found in _walk(path):
            kinds[kind].setdefault(found.resolve(), found)
    return Found(
        files=tuple(kinds["record"].values()),
        unfinished=tuple(kinds["unfinished"].values()),
        summaries=tuple(kinds["summary"].values()),
        grounding=tuple(kinds["grounding"].values()),
    )


def _kind(path: Path) -> str:
    """Return what a JSON file calls itself: ``schema_name`` is like "NAME-summary/1".

    What cannot be read is for the loader to say.
    """
    try:
        data = read_json(path, error=DataError)
    except DataError:
        return "record"
    schema = data.get("schema_name") if isinstance(data, dict) else None
    name = schema.partition("/")[0] if isinstance(schema, str) else ""
    if name == GROUNDING.partition("/")[0]:
        return "grounding"
    return next((kind for kind in ("summary", "benchmark") if name.endswith(f"-{kind}")), "record")


def _walk(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield _kind(path), path
        return
    record = path / "record.json"
    if record.exists():
        yield _kind(record), record
    elif (path / "run.json").exists():
        yield "unfinished", path
    elif path.resolve() not in above:  # a link to a folder that it lies in would never end
        try:
            children = sorted(path.iterdir())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        for child in children:
            if child.name.startswith("."):
                continue
            if child.is_dir() or child.suffix == ".json":
                yield from _walk(child, (*above, path.resolve()))


def load_records(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Read every record of classification under ``paths``, in the order of their jobs.

    Unfinished runs are named in one log warning and left out. A record that two studies share may
    lie in both folders.

    Raises:
        DataError: a path is missing, nothing was found, a record is broken or contradicts itself,
            or two files hold different records of the same job; all problems of all files at once.
    """
    found = find_records(paths)
    if found.unfinished:
        names = ", ".join(str(path) for path in found.unfinished)
        logger.warning("unfinished runs left out of the report: %s", names)
    sources = _read(found.files, Source, read_record, _order)
    if not sources:
        where = ", ".join(str(path) for path in paths)
        others = len(found.grounding)
        raise DataError(
            f"no finished record under {where}; expected NAME.json or RUN/record.json files, as "
            "`diffuprompt train` and `diffuprompt evaluate` leave them"
            + (f"; {others} are of the task grounding" if others else "")
        )
    return sources


def load_grounding_records(paths: Sequence[Path]) -> tuple[GroundingSource, ...]:
    """Read every record of grounding under ``paths``, in the order of their jobs; none is no error.

    Raises:
        DataError: as `load_records` does.
    """
    found = find_records(paths).grounding
    return _read(found, GroundingSource, read_grounding_record, _grounding_order)


def _read(
    files: Sequence[Path],
    make: Callable[..., AnySource],
    read: Callable[[Path], Record | GroundingRecord],
    order: Callable[[AnySource], tuple[str | int, ...]],
) -> tuple[AnySource, ...]:
    problems: list[str] = []
    sources: list[AnySource] = []
    for path in files:
        try:
            sources.append(make(path=path, record=read(path)))
        except DataError as error:
            problems.append(str(error))
    sources, clashes = _unique(sources, order)
    problems += clashes
    if problems:
        raise DataError("records cannot be used:\n" + "\n".join(problems))
    return tuple(sorted(sources, key=order))


def _order(source: Source) -> tuple[str | int, ...]:
    job = source.record.job
    return (
        job.dataset, job.backbone, job.protocol, job.shots, job.learner, job.generator, job.setting,
        job.seed,
    )  # fmt: skip


def _grounding_order(source: GroundingSource) -> tuple[str | int, ...]:
    job = source.record.job
    return (job.dataset, job.method, job.setting, job.detector, job.detector_hash, job.seed)


def _unique(
    sources: Sequence[AnySource], order: Callable[[AnySource], tuple[str | int, ...]]
) -> tuple[list[AnySource], list[str]]:
    """Return one source a job, and what is wrong where the files of a job differ.

    Of a run that was scored on more later, an earlier copy says nothing else: the later one counts.
    """
    by_job: dict[tuple[str | int, ...], list[AnySource]] = defaultdict(list)
    for source in sources:
        by_job[order(source)].append(source)
    widest = {job: max(found, key=lambda s: len(_results(s))) for job, found in by_job.items()}
    problems = [
        f"the same job {job} in {len(found)} files: {', '.join(str(s.path) for s in found)}; "
        "keep or name only one, or train ablations with --setting"
        for job, found in by_job.items()
        if not all(_is_within(s, widest[job]) for s in found)
    ]
    return list(widest.values()), problems


def _is_within(source: AnySource, other: AnySource) -> bool:
    """Whether the record of ``other`` has all that this one has: same training, same results."""
    a, b = source.record, other.record
    same = (a.config, a.hashes) == (b.config, b.hashes)
    return same and _results(source).items() <= _results(other).items()


def _results(source: AnySource) -> dict[str, str]:
    """Return what was found by each way of making prompts on each part of each test set."""
    record = source.record
    if isinstance(record, GroundingRecord):
        return {test.test: f"{test.content} {test.rank} {test.giou_rank}" for test in record.tests}
    return {
        f"{score.variant} {score.dataset} {score.subset}": f"{score.total} {score.hits}"
        for score in record.scores
    }
