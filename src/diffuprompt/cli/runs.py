"""Run folders, read without torch: which exist, what they hold, how far they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Run:
    """One folder under ``runs/``."""

    folder: Path
    config: dict[str, Any]  # the job as resolved, empty when run.json is damaged

    @property
    def state(self) -> str:
        """``evaluated``, ``trained`` or ``unfinished``."""
        if (self.folder / "record.json").exists():
            return "evaluated"
        return "trained" if self.trained else "unfinished"

    @property
    def trained(self) -> bool:
        """Whether the run holds an artifact to predict with."""
        return (self.folder / "artifact" / "artifact.json").exists()


def list_runs(runs_dir: Path) -> list[Run]:
    """Return the runs under ``runs_dir`` by name; a folder without run.json is not a run."""
    return [
        Run(folder=path.parent, config=_config(path))
        for path in sorted(runs_dir.glob("*/run.json"))
    ]


def newest_trained(runs_dir: Path) -> Path:
    """Return the folder of the run that finished training last.

    Raises:
        DataError: there is none.
    """
    trained = [run.folder for run in list_runs(runs_dir) if run.trained]
    if not trained:
        raise DataError(
            f"{runs_dir}: no finished run found; run 'diffuprompt train' first, or name a folder "
            "with --artifact"
        )
    return max(trained, key=lambda folder: (folder / "artifact" / "artifact.json").stat().st_mtime)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    resolved = config.get("resolved") if isinstance(config, dict) else None
    return resolved if isinstance(resolved, dict) else {}
