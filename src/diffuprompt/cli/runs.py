"""Run folders, read without torch: which exist, what they hold, how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json


@dataclass(frozen=True, kw_only=True)
class Run:
    """One folder under ``runs/``."""

    folder: Path
    config: dict[str, Any]  # the job as resolved, empty when run.json is damaged
    damaged: bool = False

    @property
    def state(self) -> str:
        """``evaluated``, ``trained``, ``unfinished``, or ``damaged run.json``."""
        if self.damaged:
            return "damaged run.json"
        if (self.folder / "record.json").exists():
            return "evaluated"
        return "trained" if self.trained else "unfinished"

    @property
    def trained(self) -> bool:
        """Whether the run holds an artifact to predict with."""
        return (self.folder / "artifact" / "artifact.json").exists()


def list_runs(runs_dir: Path) -> list[Run]:
    """Return the runs under ``runs_dir`` by name; a folder without run.json is not a run."""
    return [_run(path) for path in sorted(runs_dir.glob("*/run.json"))]


def find_newest_trained(runs_dir: Path) -> Path | None:
    """Return the folder of the run that finished training last, None where there is none."""
    trained = [run.folder for run in list_runs(runs_dir) if run.trained]
    times = {folder: (folder / "artifact" / "artifact.json").stat().st_mtime for folder in trained}
    return max(trained, key=times.__getitem__, default=None)


def _run(path: Path) -> Run:
    try:
        found = read_json(path)
    except CheckpointError:
        found = None
    resolved = found.get("resolved", {}) if isinstance(found, dict) else None
    if not isinstance(resolved, dict):
        return Run(folder=path.parent, config={}, damaged=True)
    shown = {key: _shown(value) for key, value in resolved.items()}
    return Run(folder=path.parent, config=shown)


def _shown(value: object) -> object:
    """Return what a table can show of a value that may be of any kind."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "?" for c in value)
    return value if isinstance(value, int | float) else "?"
