"""The studies that a report shows; the engine in `diffuprompt.report` knows none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffuprompt.report import Study
from diffuprompt.studies.grounding.report import GroundingReport
from diffuprompt.studies.plug_in.report import PlugInReport

STUDIES: tuple[Study, ...] = (PlugInReport(), GroundingReport())


def own_pages(paths: Sequence[Path]) -> list[str]:
    """Return the pages of studies whose records are of a task of their own, as Markdown.

    Raises `DataError` as the loader does.
    """
    files = [study.files(paths) for study in STUDIES]
    return [text for each in files for text in each.values() if isinstance(text, str)]
