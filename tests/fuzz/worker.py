"""One chunk of `make fuzz`: examples of one group from one seed, counted, never stopped by a fault.

A watchdog ends the process when one example takes longer than a minute, whatever it is doing.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.group import FAULTS, Example, judge
from tests.fuzz.groups import GROUPS

LIMIT_S = 60
KEPT = 5  # faults of one kind whose input is kept


def run(name: str, number: int, count: int, out: Path) -> None:
    """Write ``out``: how ``count`` examples of group ``name`` ended, from seed ``number``."""
    torch.set_num_threads(1)
    group, ends, faults = GROUPS[name], Counter[str](), []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as place:
        os.environ["DIFFUPROMPT_CACHE"] = f"{place}/cache"
        (Path(place) / "material").mkdir()
        material = group.material(Path(place) / "material")

        @seed(number)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(group.examples(material))
        def one(example: Example) -> None:
            nonlocal slowest
            folder = Path(tempfile.mkdtemp(dir=place))
            faulthandler.dump_traceback_later(LIMIT_S, exit=True)
            try:
                verdict = judge(group, material, example, folder)
            finally:
                faulthandler.cancel_dump_traceback_later()
                shutil.rmtree(folder)
            ends[verdict.kind] += 1
            slowest = max(slowest, verdict.seconds)
            if verdict.kind in FAULTS and ends[verdict.kind] <= KEPT:
                shown = f"{example.what!r:.3000}"
                faults.append({"kind": verdict.kind, "text": verdict.text, "input": shown})

        one()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = {"ends": ends, "faults": faults, "slowest_s": slowest, "peak_mib": peak}
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.rename(out)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
