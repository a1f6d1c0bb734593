"""Where the backbone of an artifact is.

An artifact names its backbone, and anybody may have written it. So a name is followed only where
that is harmless: bundled names and folders of `DIFFUPROMPT_MODELS`, what the hub's cache holds, and
OpenAI's own models on the hub. A path, and a download of anything else, need a word of the user's.
Two things count as one: ``--backbone``, which is remembered by the hash of the weights, so that
nobody is asked twice; and the ``run.json`` beside the artifact, whose path is read only when the
weights there have the hash of those that were trained on. (Whoever can put such a file on this
machine needs no artifact any more.) Files are hashed and read as ever; nothing in them is run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from diffuprompt.checkpoints import as_path, hash_weights, is_at_hand, is_name, load_clip
from diffuprompt.clip import Clip
from diffuprompt.engine import write_json
from diffuprompt.errors import CheckpointError, DiffupromptError
from diffuprompt.hub.description import Description
from diffuprompt.reading import read_json
from diffuprompt.runs import cache_root

MEMORY = "backbones.json"  # in the user's cache folder: hash of the weights -> path or hub id
SHOWN = 120


class BackboneNeededError(CheckpointError):
    """An artifact from elsewhere wants a backbone that is not on this machine.

    ``name`` is a hub id that could be downloaded, or "" where only the user knows where it is.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def load_backbone(
    folder: Path, description: Description, given: str | None, device: torch.device | str
) -> Clip:
    """Load the backbone of the artifact in ``folder``.

    Tried in this order: ``given``, which is remembered when it is the right one; what was given
    before for these weights; the path in the run around the artifact, if it leads to these weights;
    the artifact's own name for it, if that is followed without a word, see the head of this module.

    Raises:
        BackboneNeededError: none of these.
        CheckpointError: the backbone cannot be read.
    """
    wanted = description.backbone_hash
    found = given or _remembered(wanted) or _of_run(folder, wanted)
    if not found and _is_harmless(description.backbone, wanted):
        found = description.backbone
    if not found:
        raise _needed(folder, description)
    try:
        clip = load_clip(found, device=device)
    except CheckpointError as cause:
        raise CheckpointError(
            f"{folder}: these prompts need the backbone {_short(description.backbone)} (weights "
            f"{_short(wanted)}); say where it is with --backbone. {cause}"
        ) from cause
    if given and clip.weights_hash == wanted:
        _remember(wanted, given)
    return clip


def _is_harmless(name: str, wanted: str) -> bool:
    if not is_name(name):
        return False
    if as_path(name) is not None:  # a folder of this name in the working directory
        return _leads_to(name, wanted)
    return is_at_hand(name)


def _needed(folder: Path, description: Description) -> BackboneNeededError:
    name = description.backbone
    is_hub = is_name(name) and "/" in name
    where = (
        f"It is not on this machine; --backbone {name} downloads it from the Hugging Face hub"
        if is_hub
        else "Say where it is with --backbone DIR"
    )
    return BackboneNeededError(
        f"{folder}: these prompts need the backbone {_short(name)} (weights "
        f"{_short(description.backbone_hash)}). {where}; the answer is remembered. A path or a "
        "download that an artifact from elsewhere asks for is not followed unasked",
        name if is_hub else "",
    )


def _of_run(folder: Path, wanted: str) -> str:
    """Return the backbone's path in the run around an artifact, if these weights are there."""
    run = folder.resolve().parent / "run.json"
    with contextlib.suppress(DiffupromptError):  # a damaged run.json says nothing
        content = read_json(run) if run.is_file() else None
        job = content.get("job") if isinstance(content, dict) else None
        name = job.get("backbone") if isinstance(job, dict) else None
        if isinstance(name, str) and _leads_to(name, wanted):
            return name
    return ""


def _leads_to(name: str, wanted: str) -> bool:
    path = as_path(name)
    with contextlib.suppress(DiffupromptError, OSError, ValueError):
        return path is not None and hash_weights(path) == wanted
    return False


def _remembered(wanted: str) -> str:
    """Return what the user gave for these weights before, where that is still there."""
    found = _memory().get(wanted, "")
    usable = isinstance(found, str) and (as_path(found) is not None or is_at_hand(found))
    return str(found) if usable else ""


def _remember(wanted: str, given: str) -> None:
    """Keep an answer; what cannot be written is asked for again."""
    path = as_path(given)
    place = given if path is None else str(path.resolve())
    file = cache_root() / MEMORY
    with contextlib.suppress(OSError):
        known = _memory()
        if known.get(wanted) != place:
            write_json(file, {**known, wanted: place})


def _memory() -> dict[str, object]:
    file = cache_root() / MEMORY
    with contextlib.suppress(DiffupromptError):
        found = read_json(file) if file.is_file() else {}
        return found if isinstance(found, dict) else {}
    return {}


def _short(text: str) -> str:
    return ascii(text) if len(text) <= SHOWN else f"{text[:SHOWN]!a}..."
