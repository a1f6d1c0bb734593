"""The door to the record of any task: read a file, and ask the record which ``task`` it is of."""

from __future__ import annotations

from pathlib import Path

from diffuprompt import record, record_grounding
from diffuprompt.record import Record
from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.record_reading import Makers, read_fields

AnyRecord = Record | GroundingRecord
MAKERS: Makers[AnyRecord] = {
    **record.MAKERS,
    record_grounding.SCHEMA: GroundingRecord.model_validate,
}


def read_any_record(path: Path) -> AnyRecord:
    """Read and validate one record; its ``task`` is "classification" or "grounding".

    Raises:
        DataError: as `record.read_record` does.
    """
    return read_fields(path, MAKERS)
