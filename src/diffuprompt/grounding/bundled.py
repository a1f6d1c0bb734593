"""The grounder that comes with the package: trained on drawn scenes, for the tiny detector."""

from __future__ import annotations

from pathlib import Path

from diffuprompt.checkpoints import ASSETS
from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.artifact import FILE

BUNDLED_GROUNDER = "scenes-grounder"


def bundled_grounder() -> Path:
    """Return its folder, for `load_grounder`.

    Raises:
        CheckpointError: this copy of the package comes without it.
    """
    folder = ASSETS / BUNDLED_GROUNDER
    if not (folder / FILE).is_file():
        raise CheckpointError(
            f"{BUNDLED_GROUNDER} is not part of this copy of the package; train one with "
            "'diffuprompt ground train', and name its folder with --artifact"
        )
    return folder
