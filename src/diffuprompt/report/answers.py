"""What a section of a report says, in a sentence made of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.report.aggregate import Section
from diffuprompt.report.compare import Comparison
from diffuprompt.report.names import METRICS, OWN, is_control, is_trivial, metric_name, needs_images
from diffuprompt.report.rows import Row
from diffuprompt.report.tables import Number


def leader(section: Section) -> tuple[str, ...]:
    """Say which method is highest, and how many are above zero-shot; nothing of fewer than two.

    Of H where there is one. Controls, ablations and other samplings of a generator do not count.
    """
    measure = next((m for m in ("h", *METRICS) if m in section.metrics), "")
    rows = [row for row in section.main if not is_control(row.variant)]
    known = [(mean, row) for row in rows if (mean := row.mean(measure)) is not None]
    return best_of(metric_name(measure), known)


def open_world(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Say how many methods beat the trivial control where names of both halves are offered."""
    found = [c for c in comparisons if is_trivial(c.b.variant) and "open" in c.intervals]
    if not found:
        return ()
    above = [c.a.name for c in found if c.intervals["open"].low > 0]
    names = f": {', '.join(above)}" if above else ""
    return (
        f"With the names of both halves offered, {len(above)} of {len(found)} methods beat the "
        "trivial control, the method itself for base names and zero-shot for new ones, with "
        f"intervals above zero{names}.",
    )


def best_of(what: str, known: Sequence[tuple[float, Row]]) -> tuple[str, ...]:
    """Say which of some rows has the highest mean; nothing of fewer than two."""
    if len(known) < 2:
        return ()
    mean, best = max(known, key=lambda pair: pair[0])
    said = f"{what} is highest with {best.name}, {_shown(mean)}, of {len(known)} methods."
    plain = [pair for pair in known if not needs_images(pair[1].learner) and pair[1].variant == OWN]
    if len(plain) == 1:
        floor, row = plain[0]
        above = sum(mean > floor for mean, _ in known)
        said += f" {row.name} has {_shown(floor)}; {above} of {len(known) - 1} others are above it."
    return (said,)


def _shown(value: float) -> str:
    return Number(value=value).head
