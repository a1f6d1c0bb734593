"""Test sets corrupted in several ways and strengths: which they are, by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from diffuprompt.data import SHIFTS
from diffuprompt.report.rows import TestSet

_NAME = re.compile(rf"(.*[-_])?({'|'.join(SHIFTS)})-([1-9])")


def corrupted(sets: Iterable[TestSet]) -> dict[TestSet, tuple[str, int]]:
    """Return kind and severity of the test sets that `diffuprompt data shift` made.

    Those are called KIND-SEVERITY, such as "blur-3", maybe behind another name, which belongs to
    the kind where there are several: "birds-blur". One alone is no curve and is left with the other
    test sets.
    """
    kinds: dict[tuple[str, str, str], dict[int, TestSet]] = defaultdict(dict)
    for test_set in sorted(sets):
        name, part = test_set
        match = _NAME.fullmatch(name)
        if match is not None:
            kinds[match[1] or "", match[2], part][int(match[3])] = test_set
    curves = {key: found for key, found in kinds.items() if len(found) > 1}
    several = len({behind for behind, _, _ in curves}) > 1
    return {
        test_set: (f"{behind}{kind}" if several else kind, severity)
        for (behind, kind, _), found in curves.items()
        for severity, test_set in found.items()
    }
