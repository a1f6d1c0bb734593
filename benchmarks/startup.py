"""Measure how long the package takes to answer: importing it, and ``diffuprompt --help``.

    python -m benchmarks.startup [--json]

Seconds of a fresh process, best of five, beside a Python that does nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

COMMANDS = {
    "python": ["-c", ""],
    "import": ["-c", "import diffuprompt"],
    "help": ["-m", "diffuprompt.cli.main", "--help"],
}


def seconds(words: list[str]) -> float:
    """Return the best of five wall times of one command."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="last line is one JSON object")
    args = parser.parse_args()
    result = {f"{name}_s": seconds(words) for name, words in COMMANDS.items()}
    for name, value in result.items():
        print(f"{name:10} {value:.3f}")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
