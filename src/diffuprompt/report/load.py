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
from diffuprompt.record import Record
from diffuprompt.record_file import read_any_record
from diffuprompt.record_grounding import GroundingRecord

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
    """What lies under the given paths: record files, runs without one, summaries of records."""

    files: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    summaries: tuple[Path, ...] = ()


def find_records(paths: Sequence[Path]) -> Found:
    """List record files under ``paths`` at any depth.

    A folder that holds ``run.json`` or ``record.json`` is a run: its ``record.json`` is read and
    nothing else in it; without one the run is unfinished. In other folders every ``*.json`` is a
    record, but for summaries that a report made and for what benchmarks measured. Hidden folders
    are skipped, such as the stages that runs keep beside them. A path may also be one record file.

    Raises `DataError` when a path does not exist.
    """
    files: dict[Path, Path] = {}
    unfinished: dict[Path, None] = {}
    summaries: dict[Path, None] = {}
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}")
    for path in paths:
        for kind, found in _walk(path):
            if kind == "unfinished":
                unfinished[found] = None
            elif kind == "summary":
                summaries[found] = None
            elif kind == "record":
                files.setdefault(found.resolve(), found)
    return Found(
        files=tuple(files.values()), unfinished=tuple(unfinished), summaries=tuple(summaries)
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
    return next((kind for kind in ("summary", "benchmark") if name.endswith(f"-{kind}")), "record")


def _walk(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield _kind(path), path
        return
    record = path / "record.json"
    if record.exists():
        yield "record", record
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

    Records of other tasks are checked and left out. Unfinished runs are named in one log warning
    and left out. A record that two studies share may lie in both folders.

    Raises:
        DataError: a path is missing, nothing was found, a record is broken or contradicts itself,
            or two files hold different records of the same job; all problems of all files at once.
    """
    sources, others = _load(paths)
    if not sources:
        where = ", ".join(str(path) for path in paths)
        of_others = f"; {len(others)} are of the task grounding" if others else ""
        raise DataError(
            f"no finished record under {where}; expected NAME.json or RUN/record.json files, "
            f"as `diffuprompt train` and `diffuprompt evaluate` leave them{of_others}"
        )
    return tuple(sources)


def load_grounding_records(paths: Sequence[Path]) -> tuple[GroundingSource, ...]:
    """Read every record of grounding under ``paths``, in the order of their jobs; none is no error.

    Raises:
        DataError: as `load_records` does.
    """
    return tuple(_load(paths)[1])


def _load(paths: Sequence[Path]) -> tuple[list[Source], list[GroundingSource]]:
    found = find_records(paths)
    if found.unfinished:
        names = ", ".join(str(path) for path in found.unfinished)
        logger.warning("unfinished runs left out of the report: %s", names)
    problems: list[str] = []
    sources: list[Source] = []
    grounding: list[GroundingSource] = []
    for path in found.files:
        try:
            record = read_any_record(path)
        except DataError as error:
            problems.append(str(error))
            continue
        if isinstance(record, GroundingRecord):
            grounding.append(GroundingSource(path=path, record=record))
        else:
            sources.append(Source(path=path, record=record))
    sources, clashes = _unique(sources, _order)
    grounding, others = _unique(grounding, _grounding_order)
    problems += [*clashes, *others]
    if problems:
        raise DataError("records cannot be used:\n" + "\n".join(problems))
    return sorted(sources, key=_order), sorted(grounding, key=_grounding_order)


def _order(source: Source) -> tuple[str | int, ...]:
    job = source.record.job
    return (
        job.dataset, job.backbone, job.protocol, job.shots, job.learner, job.generator, job.setting,
        job.seed, source.record.task,
    )  # fmt: skip


def _grounding_order(source: GroundingSource) -> tuple[str | int, ...]:
    job = source.record.job
    return (job.dataset, job.method, job.setting, job.detector, job.detector_hash, job.seed)


def _unique(
    sources: Sequence[AnySource], order: Callable[[AnySource], tuple[str | int, ...]]
) -> tuple[list[AnySource], list[str]]:
    """Return one source a job, and what is wrong where the files of a job differ."""
    by_job: dict[tuple[str | int, ...], list[AnySource]] = defaultdict(list)
    for source in sources:
        by_job[order(source)].append(source)
    problems = [
        f"the same job {job} in {len(found)} files: {', '.join(str(s.path) for s in found)}; "
        "keep or name only one, or train ablations with --setting"
        for job, found in by_job.items()
        if any(s.record != found[0].record for s in found)
    ]
    return [found[0] for found in by_job.values()], problems
