"""Summaries of studies that lie among their records, as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffuprompt.errors import DataError
from diffuprompt.reading import read_json
from diffuprompt.report.extension import Study
from diffuprompt.report.load import find_records


def summary_texts(paths: Sequence[Path], studies: Sequence[Study]) -> dict[Path, str]:
    """Return what every summary under ``paths`` should say, made of the records of its folder.

    Raises:
        DataError: no study makes summaries of a file's schema, or as the study does.
    """
    makers = {study.summary_schema: study for study in studies}
    out = {}
    for path in find_records(paths).summaries:
        schema = read_json(path, error=DataError)["schema_name"]
        if schema not in makers:
            known = f"expected one of {sorted(makers)}" if makers else "this report knows none"
            raise DataError(f"{path}: summary of an unknown study, schema {schema!r}; {known}")
        out[path] = makers[schema].summary([path.parent])
    return out
