"""The studies that a report shows; the engine in `diffuprompt.report` knows none of them."""

from __future__ import annotations

from typing import Literal

from diffuprompt.report import Study
from diffuprompt.studies.grounding.report import GroundingReport
from diffuprompt.studies.plug_in.report import PlugInReport
from diffuprompt.studies.published.against import AgainstPaper
from diffuprompt.studies.shift.report import ShiftReport

STUDIES: tuple[Study, ...] = (PlugInReport(), ShiftReport(), GroundingReport())

Against = Literal["none", "paper", "paper-full"]


def studies_against(published: Against) -> tuple[Study, ...]:
    """Return what a report shows, with the published numbers beside ours where asked for."""
    if published == "none":
        return STUDIES
    return (*STUDIES, AgainstPaper(is_full=published == "paper-full"))
