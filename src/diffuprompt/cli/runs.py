"""Run folders, read without torch: which exist, what they hold, how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json

CLASSIFIER, GROUNDER = "artifact.json", "grounding.json"  # inside of artifact/
# fields of a grounding job -> what lists of runs call them
OF_GROUNDING = {"data": "dataset", "detector": "backbone", "method": "learner", "seed": "seed"}
WITH_ANSWERS = ("truth", "shuffled")  # maps of controls that predict nothing


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
        """Whether the run holds an artifact."""
        return any((self.folder / "artifact" / name).exists() for name in (CLASSIFIER, GROUNDER))


def list_runs(runs_dir: Path) -> list[Run]:
    """Return the runs under ``runs_dir`` by name; a folder without run.json is not a run."""
    return [_run(path) for path in sorted(runs_dir.glob("*/run.json"))]


def find_newest_trained(runs_dir: Path) -> Path | None:
    """Return the folder of the run that finished training last, None where there is none."""
    return _newest(list(runs_dir.glob(f"*/artifact/{CLASSIFIER}")))


def find_newest_grounder(runs_dir: Path) -> Path | None:
    """Return the folder of the grounding run that was trained last, None where there is none.

    Controls that read masks of known answers are left out.
    """
    every = runs_dir.glob(f"*/artifact/{GROUNDER}")
    return _newest([path for path in every if _maps(path) not in WITH_ANSWERS])


def _newest(artifacts: Sequence[Path]) -> Path | None:
    """Return the folder of the run of the newest of some files in ``artifact``."""
    found = [path for path in artifacts if (path.parents[1] / "run.json").exists()]
    newest = max(found, key=lambda path: (path.stat().st_mtime, path), default=None)
    return None if newest is None else newest.parents[1]


def _maps(path: Path) -> str:
    """Return where a grounder's maps come from; "" where it reads none, or is damaged."""
    try:
        data = read_json(path)
    except CheckpointError:
        return ""
    maps = data.get("maps") if isinstance(data, dict) else None
    return str(maps.get("source", "")) if isinstance(maps, dict) else ""


def _run(path: Path) -> Run:
    try:
        found = read_json(path)
    except CheckpointError:
        found = None
    resolved = found.get("resolved", {}) if isinstance(found, dict) else None
    if isinstance(found, dict) and isinstance(job := found.get("job"), dict) and not resolved:
        resolved = {new: job.get(old) for old, new in OF_GROUNDING.items()}
    if not isinstance(resolved, dict):
        return Run(folder=path.parent, config={}, damaged=True)
    shown = {key: _shown(value) for key, value in resolved.items()}
    return Run(folder=path.parent, config=shown)


def _shown(value: object) -> object:
    """Return what a table can show of a value that may be of any kind."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "?" for c in value)
    return value if isinstance(value, int | float) else "?"
