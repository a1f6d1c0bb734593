"""Test sets corrupted in several ways and strengths: which they are, by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from diffuprompt.report.rows import TestSet

_NAME = re.compile(r"(?:.*[-_])?([a-z]+)-([1-9])")


def corrupted(sets: Iterable[TestSet]) -> dict[TestSet, tuple[str, int]]:
    """Return kind and severity of the test sets that `diffuprompt data shift` made.

    Those are called KIND-SEVERITY, such as "blur-3", maybe behind another name. One alone is no
    curve and is left with the other test sets.
    """
    kinds: dict[tuple[str, str], dict[int, TestSet]] = defaultdict(dict)
    for test_set in sorted(sets):
        name, part = test_set
        match = _NAME.fullmatch(name)
        if match is not None:
            kinds[match[1], part][int(match[2])] = test_set
    return {
        test_set: (kind, severity)
        for (kind, _), found in kinds.items()
        if len(found) > 1
        for severity, test_set in found.items()
    }
