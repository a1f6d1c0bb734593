"""Copy a trained grounding run into the package, in half precision.

    python -m tools.bundle_grounder runs/ground-scenes-diff-prompt-seed1-1a2b3c4d

The run is what ``diffuprompt ground train`` made on scenes; ``diffuprompt ground demo``, and
``ground predict`` without a run, use the copy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffuprompt.checkpoints import ASSETS
from diffuprompt.grounding import BUNDLED_GROUNDER, halve_grounder


def main() -> None:
    """Write the copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    halve_grounder(parser.parse_args().run, ASSETS / BUNDLED_GROUNDER)


if __name__ == "__main__":
    main()
