"""The one question about an artifact from elsewhere: where its backbone is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffuprompt.hub import BackboneNeededError, Classifier


def load_classifier(folder: Path, backbone: str, device: str) -> Classifier:
    """Load an artifact; on a terminal, ask for a backbone that it wants and nobody gave.

    An answer is remembered, see `diffuprompt.hub.places`. Raises as `load_artifact` does, also
    where there is nobody to ask or the answer is empty.
    """
    from diffuprompt.hub import BackboneNeededError, Classifier

    try:
        return Classifier.from_pretrained(folder, backbone=backbone or None, device=device)
    except BackboneNeededError as error:
        if not is_interactive():
            raise
        answer = _ask(error)
        if not answer:
            raise
    return Classifier.from_pretrained(folder, backbone=answer, device=device)


def is_interactive() -> bool:
    """Whether somebody reads what is asked and can answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(error: BackboneNeededError) -> str:
    print(error, file=sys.stderr)
    download = f"download {error.name} (y), or another " if error.name else ""
    print(f"{download}backbone, as for --backbone; nothing to stop: ", end="", file=sys.stderr)
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    return error.name if error.name and answer.lower() in ("y", "yes") else answer
