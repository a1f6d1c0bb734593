"""A pickle of plain data, as data sets of Python 2's time come, read without running anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from torch import Tensor

from diffuprompt.checkpoints.pickles import STUMBLES
from diffuprompt.checkpoints.unpickler import Reader
from diffuprompt.errors import DataError


def read_plain_pickle(path: Path, kind: str) -> Any:
    """Return the lists, mappings, texts and numbers that ``path`` holds.

    Texts of Python 2 are read as Latin-1. What is returned may hold one object many times, or
    itself: whoever walks it has to stop by counting.

    Args:
        path: a file of ``pickle.dump``, of any protocol.
        kind: what it is, for messages.

    Raises:
        DataError: the file is missing or damaged, or names any class or function at all; nothing of
            it has run by then.
    """
    try:
        return _PlainReader(path.read_bytes()).load()
    except STUMBLES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise DataError(
            f"{path}: not a readable {kind} ({ascii(reason)[1:-1]}); expected a pickle of lists, "
            "mappings, texts and numbers alone; nothing in it is run"
        ) from error


class _PlainReader(Reader):
    """Knows no name and no storage."""

    encoding: str

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), self._no_storage, most=0)
        self.encoding = "latin1"

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every name."""
        shown = ascii(f"{module}.{name}")[1:-1][:120]
        raise pickle.UnpicklingError(f"it names {shown}")

    @staticmethod
    def _no_storage(_pid: object) -> Tensor:
        raise pickle.UnpicklingError("it refers to something outside the file")
