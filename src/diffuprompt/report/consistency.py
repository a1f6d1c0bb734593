"""Whether records may stand in one table: the same data and weights, and in a row one config."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from diffuprompt.errors import DataError
from diffuprompt.record import Record, Score
from diffuprompt.report.configuration import ABSENT, flat_fields
from diffuprompt.report.load import GroundingSource, Source

HASHES = ("backbone", "manifest", "preprocess")  # weights, images and split, how images are read
OF_TABLE = "give the report only the records of one version, or make the others again"
OF_ROW = (
    "they would pass for seeds of one another: give the report only those of one configuration, or "
    "train the others with --setting NAME, which shows them as an ablation"
)

Seen = dict[str, dict[str, list[str]]]  # what -> value -> files


def check_consistent(sources: Sequence[Source]) -> None:
    """Check the records of one table.

    All share the hashes of backbone, manifest and preprocessing, and the sizes and contents of
    every test set; the seeds of one learner, generator and setting share their whole configuration,
    precision included.

    Raises `DataError` naming every field that differs, its values and their files.
    """
    table: Seen = defaultdict(lambda: defaultdict(list))
    rows: dict[tuple[str, str, str], list[Source]] = defaultdict(list)
    for source in sources:
        job = source.record.job
        rows[job.learner, job.generator, job.setting].append(source)
        for what, value in _of_table(source.record):
            table[what][value].append(str(source.path))
    refuse_disagreements(table, {key: fields_of(found) for key, found in rows.items()})


def refuse_disagreements(table: Seen, rows: Mapping[tuple[str, ...], Seen]) -> None:
    """Raise `DataError` naming what differs inside of a table, and inside of each of its rows."""
    problems = _disagreements("one table", table, OF_TABLE)
    for key, found in rows.items():
        name = "/".join(part for part in key if part)
        problems += _disagreements(f"the row {name}", found, OF_ROW)
    if problems:
        raise DataError("\n".join(problems))


def _of_table(record: Record) -> Iterator[tuple[str, str]]:
    for name in HASHES:
        if name in record.hashes:
            yield f"{name} hash", record.hashes[name]
    for what, total in sorted({(_test_set(record, s), s.total) for s in record.scores}):
        yield f"number of {what} test images", str(total)
    contents = {(_test_set(record, s), s.content) for s in record.scores if s.content}
    for what, content in sorted(contents):
        yield f"content of the {what} test images", content


def _test_set(record: Record, score: Score) -> str:
    """Return the part, and the name of the data set where it is not the job's own."""
    is_own = score.dataset == record.job.dataset
    return score.subset if is_own else f"{score.dataset} {score.subset}"


def fields_of(sources: Sequence[Source | GroundingSource]) -> Seen:
    """Return which files hold each value of every field of their configurations."""
    flat = [flat_fields(source.record.config) for source in sources]
    out: Seen = defaultdict(lambda: defaultdict(list))
    for field in sorted({field for one in flat for field in one}):
        for source, one in zip(sources, flat, strict=True):
            out[f"config {field}"][one.get(field, ABSENT)].append(str(source.path))
    return out


def _disagreements(where: str, seen: Seen, remedy: str) -> list[str]:
    """Return what the records of ``where`` disagree on, with the files, and then the remedy."""
    out = []
    for what, values in sorted(seen.items()):
        if len(values) > 1:
            lines = [f"  {value}: {', '.join(files)}" for value, files in sorted(values.items())]
            out.append(f"records of {where} disagree on the {what}:\n" + "\n".join(lines))
    return [*out, f"  {remedy}"] if out else []
