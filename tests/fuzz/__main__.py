"""`make fuzz`: many examples of every group, in processes of their own; resumes where it stopped.

    python -m tests.fuzz --examples 5000 --out build/fuzz

Ends with a table of counts; exit code 1 when anything but "read" and "refused" is in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK = 500
GROUPS = (
    "runs", "artifacts", "backbones", "legacy", "settings", "toml", "csv", "splits", "folders",
    "pictures", "records", "grounding-records",
)  # fmt: skip
KINDS = ("read", "refused", "traceback", "hang", "silent", "unnamed", "wrongly refused")
LIMIT_S = 3600


def main() -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000, help="of each group")
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chunks = [
        (name, number, min(CHUNK, args.examples - number * CHUNK))
        for name in args.groups
        for number in range(-(-args.examples // CHUNK))
    ]
    missing = [chunk for chunk in chunks if not _file(args.out, *chunk).exists()]
    start, done = time.monotonic(), 0
    with ThreadPoolExecutor(args.workers) as pool:
        for _ in pool.map(lambda chunk: _run(args.out, *chunk), missing):
            done += 1
            left = (time.monotonic() - start) / done * (len(missing) - done)
            print(f"{done} of {len(missing)} chunks, {left / 60:.0f} min left", flush=True)
    found = {name: _sum(args.out, [c for c in chunks if c[0] == name]) for name in args.groups}
    print(table(found))
    (args.out / "counts.json").write_text(json.dumps(found, indent=1))
    bad = sum(row["ends"][kind] for row in found.values() for kind in KINDS[2:])
    print(f"{bad} fault(s); inputs are in {args.out}")
    return 1 if bad else 0


def table(found: dict[str, Any]) -> str:
    """Return the counts as a Markdown table."""
    header = ["group", "examples", *KINDS, "slowest s", "peak MiB"]
    lines = [" | ".join(header), " | ".join("-" * len(cell) for cell in header)]
    for name, row in found.items():
        ends = row["ends"]
        cells = [name, sum(ends.values()), *(ends[kind] for kind in KINDS)]
        cells += [f"{row['slowest_s']:.1f}", row["peak_mib"]]
        lines.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {line} |" for line in lines)


def _file(out: Path, name: str, number: int, count: int) -> Path:
    return out / f"{name}-{number:03}-{count}.json"


def _run(out: Path, name: str, number: int, count: int) -> None:
    file = _file(out, name, number, count)
    words = ["-m", "tests.fuzz.worker", name, str(number), str(count), str(file)]
    log = file.with_suffix(".log")
    with log.open("w") as stream:
        try:
            subprocess.run(
                [sys.executable, *words], stdout=stream, stderr=stream, timeout=LIMIT_S, check=True
            )
            log.unlink()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            text = log.read_text(errors="replace")
            kind = "hang" if "Timeout (" in text else "traceback"
            fault = {"kind": kind, "text": text[-4000:], "input": f"seed {number}"}
            content = {"ends": {kind: 1}, "faults": [fault], "slowest_s": 0, "peak_mib": 0}
            file.write_text(json.dumps(content))


def _sum(out: Path, chunks: list[tuple[str, int, int]]) -> dict[str, Any]:
    parts = [json.loads(_file(out, *chunk).read_text()) for chunk in chunks]
    ends = Counter(dict.fromkeys(KINDS, 0))
    for part in parts:
        ends.update(part["ends"])
    return {
        "ends": dict(ends),
        "slowest_s": max((part["slowest_s"] for part in parts), default=0),
        "peak_mib": max((part["peak_mib"] for part in parts), default=0),
    }


if __name__ == "__main__":
    sys.exit(main())
