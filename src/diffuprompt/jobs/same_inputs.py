"""Whether what a run was trained on is what is there now."""

from __future__ import annotations

from diffuprompt.checkpoints import is_at_hand
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.prepared import Prepared
from diffuprompt.jobs.run_folder import RUN, Run, RunFolder


def check_at_hand(folder: RunFolder, job: JobConfig) -> None:
    """Raise `CheckpointError` where the backbone is not on this machine.

    A run from elsewhere must not make us download.
    """
    if not is_at_hand(job.backbone):
        raise CheckpointError(
            f"{folder.path / RUN}: job.backbone is {job.backbone!r}, which is not on this "
            "machine; download it first, for example with 'hf download', or name a folder there"
        )


def check_inputs(folder: RunFolder, run: Run, prepared: Prepared) -> None:
    """Raise `ConfigError` where training images or backbone are not those of training."""
    now = prepared.hashes if run.is_old else prepared.inputs
    changed = [
        f"{name} is {run.inputs[name]!r} there, {now[name]!r} now"
        for name in sorted(run.inputs)
        if name in now and now[name] != run.inputs[name]
    ]
    if changed:
        raise ConfigError(
            f"{folder.path}: was trained on something else than is there now, so that test images "
            f"may have been trained on; the content of {'; '.join(changed)}. Restore the pictures "
            "and the backbone, or train again"
        )
