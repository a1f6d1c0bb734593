"""Records in, tables, figures and pages out; reads nothing but records and imports no torch.

The engine for any study: it knows records, rows, pairs, intervals, tables, figures and pages, and
what a study adds to them through `Study`. These names are its door; what is not here is its own.
"""

from diffuprompt.report.aggregate import Section, build_sections
from diffuprompt.report.compare import (
    RESAMPLES,
    Comparison,
    compare,
    default_comparisons,
    difference,
)
from diffuprompt.report.configuration import differing_fields
from diffuprompt.report.cost_table import number
from diffuprompt.report.costs import Costs
from diffuprompt.report.extension import Appendix, Extras, SectionPart, Study
from diffuprompt.report.figures import BLUE, GREY, ORANGE, WIDTH, style, to_svg
from diffuprompt.report.files import write_text
from diffuprompt.report.html_parts import Example
from diffuprompt.report.load import Source, find_records, load_records
from diffuprompt.report.markdown import check, read_notes, write
from diffuprompt.report.names import METRICS, OWN, generator_name, learner_name, metric_name
from diffuprompt.report.other_sets import OTHER_SETS, other_sets_table
from diffuprompt.report.publish import parse_formats, publish
from diffuprompt.report.rows import Row
from diffuprompt.report.stats import Interval, joint_bootstrap
from diffuprompt.report.tables import Cell, Number, Table, plain
from diffuprompt.report.views import TITLE, build_report, verdict

__all__ = [
    "BLUE",
    "GREY",
    "METRICS",
    "ORANGE",
    "OTHER_SETS",
    "OWN",
    "RESAMPLES",
    "TITLE",
    "WIDTH",
    "Appendix",
    "Cell",
    "Comparison",
    "Costs",
    "Example",
    "Extras",
    "Interval",
    "Number",
    "Row",
    "Section",
    "SectionPart",
    "Source",
    "Study",
    "Table",
    "build_report",
    "build_sections",
    "check",
    "compare",
    "default_comparisons",
    "difference",
    "differing_fields",
    "find_records",
    "generator_name",
    "joint_bootstrap",
    "learner_name",
    "load_records",
    "metric_name",
    "number",
    "other_sets_table",
    "parse_formats",
    "plain",
    "publish",
    "read_notes",
    "style",
    "to_svg",
    "verdict",
    "write",
    "write_text",
]
