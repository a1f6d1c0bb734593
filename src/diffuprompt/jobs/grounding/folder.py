"""The folder of one grounding run: what was asked, what is learned, what was scored.

RUNS/NAME/  run.json  environment.json  stages.json  artifact/  record.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuprompt.engine import write_json
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.recipes import find_recipe
from diffuprompt.jobs.grounding.settings import Settings
from diffuprompt.reading import read_json
from diffuprompt.runs import Stage, Store, digest, locked

SCHEMA = "diffuprompt.grounding-run/1"
STAGES, RUN, STAGES_FILE = ".stages", "run.json", "stages.json"
_RESULT = ("data", "test", "masks_from", "detector", "method", "preset", "seed")  # of the job


@dataclass(frozen=True, kw_only=True)
class GroundingRun:
    """The content of ``run.json``: the job as asked, and every value that counts."""

    job: GroundingJobConfig
    settings: Settings

    @property
    def name(self) -> str:
        """A folder's name: what was asked in short, and a hash of all that counts."""
        job = self.job
        data = Path(job.data).name.split(".")[0]
        counts = {key: job.to_json()[key] for key in _RESULT if key != "test"}
        counted = self.settings.counted(find_recipe(job.method))
        digits = digest([counts, counted])[:8]
        return f"ground-{data}-{job.method}-seed{job.seed}-{digits}"

    @property
    def masks(self) -> str:
        """What its Mask-VAE and mask generator depend on; "" where it reads none of a generator.

        An independent encoder is nobody else's. Those of another world are that world's own.
        """
        recipe = find_recipe(self.job.method)
        if not recipe.generates or recipe.maps == "independent":
            return ""
        job, settings = self.job, self.settings.to_json()
        used = ("expressions", "vae", "vae_fit", "generator_fit")
        asked = [job.masks_from or job.data, job.detector_name, job.seed]
        network = self.settings.generator.training()
        return digest([asked, network, {name: settings[name] for name in used}])

    def to_json(self) -> dict[str, Any]:
        """Return what `read_grounding_run` reads."""
        content = {"job": self.job.to_json(), "settings": self.settings.to_json()}
        return {"schema": SCHEMA, **content, "checksum": digest(content)}


class GroundingFolder:
    """``run.json`` first, ``record.json`` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.artifact, self.record = path / "artifact", path / "record.json"
        self.store = Store(path.parent / STAGES)

    @property
    def is_trained(self) -> bool:
        """Whether training is complete."""
        return (self.artifact / "grounding.json").is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from working on this run."""
        with locked(self.path, "another process works on this run"):
            yield

    def open(self, run: GroundingRun) -> None:
        """Write ``run.json``, or make sure that the folder belongs to the same run.

        Raises:
            ConfigError: it holds another run.
        """
        if not (self.path / RUN).exists():
            write_json(self.path / RUN, run.to_json())
            return
        found = read_grounding_run(self.path)
        if found.name != run.name:
            raise ConfigError(
                f"{self.path}: holds another run, {found.name}, not {run.name}; name another "
                "folder with --out, or delete this one"
            )

    def write_stages(self, stages: Mapping[str, Stage], inputs: Mapping[str, str]) -> None:
        """Write which stages a trained run is made of, and from what, by content."""
        rows = {
            role: {"key": stage.key, "values": self.store.folder(stage).values()}
            for role, stage in stages.items()
        }
        told = {"inputs": dict(inputs), "stages": rows}
        write_json(self.path / STAGES_FILE, {**told, "checksum": digest(told)})

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """Raise `ConfigError` naming what is not what the run was trained on.

        Raises:
            DataError: ``stages.json`` is missing, damaged or altered.
        """
        file = self.path / STAGES_FILE
        data = read_json(file, error=DataError)
        checksum = data.pop("checksum", None) if isinstance(data, dict) else None
        if checksum is None or checksum != digest(data):
            raise DataError(f"{file}: damaged or altered; train the run again in another folder")
        changed = [
            f"{name} is {data['inputs'].get(name)!r} there, {value!r} now"
            for name, value in sorted(inputs.items())
            if data["inputs"].get(name) != value
        ]
        if changed:
            raise ConfigError(
                f"{self.path}: was trained on something else than is there now; the content of "
                f"{'; '.join(changed)}. Restore it, or train again with another --out"
            )


def read_grounding_run(path: Path) -> GroundingRun:
    """Read ``run.json``.

    Raises:
        DataError: the folder is no grounding run, or its ``run.json`` is damaged.
    """
    file = path / RUN
    if not file.is_file():
        raise DataError(f"{path}: not a run folder; make one with 'diffuprompt ground train'")
    data = read_json(file, error=DataError)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise DataError(f"{file}: expected a run of 'diffuprompt ground train' ({SCHEMA})")
    try:
        content = {"job": data["job"], "settings": data["settings"]}
        if data["checksum"] != digest(content):
            raise ValueError("its checksum differs")
        return GroundingRun(
            job=GroundingJobConfig.from_json(data["job"]),
            settings=Settings.from_json(data["settings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as cause:
        raise DataError(
            f"{file}: damaged, or of another version ({type(cause).__name__}: {cause}); train the "
            "run again in another folder"
        ) from cause
