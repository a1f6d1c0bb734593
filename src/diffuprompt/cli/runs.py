"""Run folders, read without torch: which exist, what they hold, how far they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def find_newest_trained(runs_dir: Path) -> Path | None:
    """Return the folder of the run that finished training last, None where there is none."""
    trained = [run.folder for run in list_runs(runs_dir) if run.trained]
    times = {folder: (folder / "artifact" / "artifact.json").stat().st_mtime for folder in trained}
    return max(trained, key=times.__getitem__, default=None)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    resolved = config.get("resolved") if isinstance(config, dict) else None
    return resolved if isinstance(resolved, dict) else {}
