"""Find, read and check the records under some folders; broken or doubtful ones stop the report."""

from __future__ import annotations

import base64
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.record import Record, Score, Variant, read_record

logger = logging.getLogger(__name__)

ACCURACY_SLACK = 1e-3  # points: float32 accuracies pass, another count of hits does not


@dataclass(frozen=True, kw_only=True)
class Source:
    """A record and the file that it came from."""

    path: Path
    record: Record


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
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "record"
    schema = data.get("schema_name") if isinstance(data, dict) else None
    name = schema.partition("/")[0] if isinstance(schema, str) else ""
    return next((kind for kind in ("summary", "benchmark") if name.endswith(f"-{kind}")), "record")


def _walk(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield _kind(path), path
        return
    record = path / "record.json"
    if record.exists():
        yield "record", record
    elif (path / "run.json").exists():
        yield "unfinished", path
    else:
        for child in sorted(path.iterdir()):
            if child.name.startswith("."):
                continue
            if child.is_dir() or child.suffix == ".json":
                yield from _walk(child)


def load_records(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Read every record under ``paths``, in the order of their jobs (not of their file names).

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
    problems: list[str] = []
    sources: list[Source] = []
    for path in found.files:
        try:
            record = read_record(path)
        except DataError as error:
            problems.append(str(error))
            continue
        wrong = _contradictions(record)
        problems += [f"{path}: {line}" for line in wrong]
        sources.append(Source(path=path, record=record))
    sources, clashes = _unique(sources)
    problems += clashes
    if problems:
        raise DataError("records cannot be used:\n" + "\n".join(problems))
    if not sources:
        where = ", ".join(str(path) for path in paths)
        raise DataError(
            f"no finished record under {where}; expected NAME.json or RUN/record.json files, "
            "as `diffuprompt train` and `diffuprompt evaluate` leave them"
        )
    return tuple(sorted(sources, key=_order))


def _order(source: Source) -> tuple[str | int, ...]:
    job = source.record.job
    return (
        job.dataset, job.backbone, job.protocol, job.shots, job.learner, job.generator, job.setting,
        job.seed, source.record.task,
    )  # fmt: skip


def _contradictions(record: Record) -> list[str]:
    """Return what is wrong with scores that are valid one by one."""
    out = []
    seen: set[tuple[Variant, str, str]] = set()
    for score in record.scores:
        own = score.dataset == record.job.dataset
        name = f"score {score.variant.label}/{'' if own else f'{score.dataset}/'}{score.subset}"
        key = (score.variant, score.dataset, score.subset)
        if key in seen:
            out.append(f"{name} is there twice")
        seen.add(key)
        out += [f"{name}: {problem}" for problem in _wrong_hits(score)]
    return out if record.scores else ["there is no score in it"]


def _wrong_hits(score: Score) -> list[str]:
    """Return what is wrong with the hits of a score, where it keeps some."""
    if score.hits is None:
        return []
    try:
        raw = base64.b64decode(score.hits, validate=True)
    except ValueError as error:  # binascii.Error, or text that is not ASCII
        return [f"hits are not base64 ({error})"]
    if len(raw) != (score.total + 7) // 8:
        return [f"hits hold {len(raw)} bytes, {score.total} items need {(score.total + 7) // 8}"]
    counted = 100 * sum(score.hit_list()) / score.total
    said = score.metrics.get("accuracy", counted)
    if abs(said - counted) > ACCURACY_SLACK:
        return [f"accuracy is {said}, its hits say {counted:.4f}"]
    return []


def _unique(sources: Sequence[Source]) -> tuple[list[Source], list[str]]:
    """Return one source a job, and what is wrong where the files of a job differ."""
    by_job: dict[tuple[str | int, ...], list[Source]] = defaultdict(list)
    for source in sources:
        by_job[_order(source)].append(source)
    problems = [
        f"the same job {job} in {len(found)} files: {', '.join(str(s.path) for s in found)}; "
        "keep or name only one, or train ablations with --setting"
        for job, found in by_job.items()
        if any(s.record != found[0].record for s in found)
    ]
    return [found[0] for found in by_job.values()], problems
