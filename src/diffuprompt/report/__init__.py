"""Records in, tables, figures and pages out; reads nothing but records and imports no torch.

The engine for any study: it knows records, rows, pairs, intervals, tables, figures and pages, and
what a study adds to them through `Study`. These names are its door; what is not here is its own.
"""

from diffuprompt.report.aggregate import Section, build_sections
from diffuprompt.report.commands import generic_commands
from diffuprompt.report.compare import (
    RESAMPLES,
    Comparison,
    compare,
    default_comparisons,
    difference,
)
from diffuprompt.report.configuration import differing_fields
from diffuprompt.report.cost_table import number
from diffuprompt.report.costs import Costs, device_in_words, timed_on
from diffuprompt.report.extension import Appendix, Extras, Figure, SectionPart, Study
from diffuprompt.report.figure_file import write_files
from diffuprompt.report.figures import BLUE, GREY, ORANGE, WIDTH, style, to_svg
from diffuprompt.report.files import write_text
from diffuprompt.report.grounding_intervals import ExpressionIntervals
from diffuprompt.report.grounding_rows import MethodRow, method_rows
from diffuprompt.report.html_parts import Example
from diffuprompt.report.load import (
    GroundingSource,
    Source,
    find_records,
    load_grounding_records,
    load_records,
)
from diffuprompt.report.markdown import check, read_notes, write
from diffuprompt.report.names import (
    METRICS,
    OWN,
    generator_name,
    is_attempt,
    learner_name,
    metric_name,
)
from diffuprompt.report.other_sets import OTHER_SETS, other_sets_table
from diffuprompt.report.publish import parse_formats, publish
from diffuprompt.report.render import FIGURES, shell_block
from diffuprompt.report.rows import Row, precision_of
from diffuprompt.report.stats import (
    Interval,
    joint_bootstrap,
    paired_bootstrap,
    paired_error,
    wilson,
)
from diffuprompt.report.tables import Cell, Number, Table, markdown_escape, plain, to_markdown
from diffuprompt.report.views import TITLE, build_report, verdict

__all__ = [
    "BLUE",
    "FIGURES",
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
    "ExpressionIntervals",
    "Extras",
    "Figure",
    "GroundingSource",
    "Interval",
    "MethodRow",
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
    "device_in_words",
    "difference",
    "differing_fields",
    "find_records",
    "generator_name",
    "generic_commands",
    "is_attempt",
    "joint_bootstrap",
    "learner_name",
    "load_grounding_records",
    "load_records",
    "markdown_escape",
    "method_rows",
    "metric_name",
    "number",
    "other_sets_table",
    "paired_bootstrap",
    "paired_error",
    "parse_formats",
    "plain",
    "precision_of",
    "publish",
    "read_notes",
    "shell_block",
    "style",
    "timed_on",
    "to_markdown",
    "to_svg",
    "verdict",
    "wilson",
    "write",
    "write_files",
    "write_text",
]
