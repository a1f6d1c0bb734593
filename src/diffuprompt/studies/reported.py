"""The studies that a report shows; the engine in `diffuprompt.report` knows none of them."""

from __future__ import annotations

from diffuprompt.report import Study
from diffuprompt.studies.grounding.report import GroundingReport
from diffuprompt.studies.plug_in.report import PlugInReport
from diffuprompt.studies.shift.report import ShiftReport

STUDIES: tuple[Study, ...] = (PlugInReport(), ShiftReport(), GroundingReport())
