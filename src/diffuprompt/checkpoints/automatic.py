"""Which backbone ``auto`` means: the best CLIP for the pictures that is at hand.

The scenes have a CLIP of their own, which is near chance on everything else. For all other pictures
the places are asked in this order, and the first that holds a CLIP decides:

1. the folders of models (see `find_local`): the largest image tower wins, equal ones by name;
2. the hub's cache on this machine, for OpenAI's CLIPs: the largest wins;
3. the hub itself, for ``openai/clip-vit-base-patch16``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffuprompt.checkpoints.header import Header
from diffuprompt.checkpoints.hf_config import VISION_DEFAULTS
from diffuprompt.checkpoints.hub import cached, fetch, first_line, has_hub
from diffuprompt.checkpoints.load import ASSETS, BUNDLED, model_folders, roots
from diffuprompt.checkpoints.openai_archive import HUB_IDS
from diffuprompt.checkpoints.weights import find_weights, hash_files
from diffuprompt.data import SCENE_STYLES
from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json

AUTO = "auto"
FROM_HUB = HUB_IDS[0]
MEGABYTES = 600  # of its weights, rounded
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What ``auto`` means here.

    Attributes:
        name: of the backbone, as `load_clip` takes it.
        why: where it was found, for people.
        left_out: folders of models that were passed over, each with its reason.
    """

    name: str
    why: str
    left_out: tuple[str, ...] = ()


@dataclass
class _Found:
    """CLIPs of one place by the size of their image towers, and what cannot be used."""

    sizes: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def best(self) -> str:
        return min(self.sizes, key=lambda name: (-self.sizes[name], name))


def choose_backbone(data: str = "", *, download: bool = True) -> Choice:
    """Return the backbone for a data set, which is said in one line of the log.

    Args:
        data: what the pictures are: the name of a data set, a path, or "" for any photograph.
        download: whether what is only on the hub is fetched; otherwise it is just named.

    Raises:
        CheckpointError: there is none; the message says where was looked and what to do.
    """
    choice = _scenes() if data in SCENE_STYLES else _photographs(download)
    for reason in choice.left_out:
        log.warning("backbone auto leaves out %s", reason)
    if download:
        log.info("backbone: %s (%s; another: --backbone NAME|DIR)", choice.name, choice.why)
    return choice


def find_backbone(data: str = "") -> str | None:
    """Return the name that `choose_backbone` would, None where it is not on this machine yet."""
    if data in SCENE_STYLES:
        return _scenes().name
    local, hub = _in_folders(), _in_cache()
    return local.best if local.sizes else hub.best if hub.sizes else None


def knows_only_scenes(header: Header) -> bool:
    """Whether a backbone is the bundled one, which only knows drawn scenes, whatever its name."""
    return header.weights_hash == hash_files(find_weights(_BUNDLE))


def places() -> list[str]:
    """Return where `choose_backbone` looks, for people, in its order."""
    folders = [str(root) if root.is_dir() else f"{root} (no such folder)" for root in roots()]
    if not os.environ.get("DIFFUPROMPT_MODELS"):
        folders.insert(0, "$DIFFUPROMPT_MODELS (not set)")
    hub = "the hub's cache, the hub" if has_hub() else "no hub (huggingface_hub is not installed)"
    return [*folders, hub]


_BUNDLE = ASSETS / BUNDLED


def _scenes() -> Choice:
    return Choice(name=BUNDLED, why="made for the scenes, comes with the package")


def _photographs(download: bool) -> Choice:
    local = _in_folders()
    left_out = tuple(local.left_out)
    if local.sizes:
        where = next(root for name, root in model_folders() if name == local.best)
        return Choice(name=local.best, why=f"in {where}", left_out=left_out)
    hub = _in_cache()
    if hub.sizes:
        return Choice(name=hub.best, why="in the hub's cache", left_out=left_out)
    if not has_hub():
        first = "pip install huggingface_hub, then the same command again"
        raise CheckpointError(_none(f"{first}; or {_by_hand()}", left_out))
    if not download:
        why = f"from the hub at first use, {MEGABYTES} MB"
        return Choice(name=FROM_HUB, why=why, left_out=left_out)
    log.info("no CLIP for photographs here: fetching %s, %d MB, once", FROM_HUB, MEGABYTES)
    try:
        fetch(FROM_HUB)
    except CheckpointError as cause:
        said = first_line(cause.__cause__ or cause)
        raise CheckpointError(f"{_none(_by_hand(), left_out)}\n  the hub: {said}") from cause
    return Choice(name=FROM_HUB, why="from the hub", left_out=left_out)


def _none(what_to_do: str, left_out: tuple[str, ...]) -> str:
    lines = [
        f"backbone auto: there is no CLIP for photographs here, and {BUNDLED} only knows drawn "
        f"scenes. Looked in: {', '.join(places())}",
        *(f"left out {reason}" for reason in left_out),
        f"next: {what_to_do}",
    ]
    return "\n  ".join(lines)


def _by_hand() -> str:
    folder = FROM_HUB.split("/")[1]
    return (
        f"on a machine with a network 'hf download {FROM_HUB} --local-dir {folder}', then add "
        f"--backbone ./{folder} to the command, or set DIFFUPROMPT_MODELS to the folder above it"
    )


def _in_folders() -> _Found:
    found = _Found()
    found.left_out += [
        f"{root}: a model itself; set DIFFUPROMPT_MODELS to the folder above it"
        for root in roots()
        if (root / "config.json").is_file()
    ]
    for name, root in model_folders():
        folder = root / name
        try:
            size = _image_tower(read_json(folder / "config.json"), folder / "config.json")
            files = () if size is None else tuple(find_weights(folder))
        except CheckpointError as cause:
            found.left_out.append(str(cause))
            continue
        if size is not None and not (Path(name).name == BUNDLED or _is_bundled(files)):
            found.sizes.setdefault(name, size)
    return found


def _in_cache() -> _Found:
    found = _Found()
    for repo in HUB_IDS if has_hub() else ():
        folder = cached(repo)
        if folder is not None:
            size = _image_tower(read_json(folder / "config.json"), folder / "config.json")
            found.sizes[repo] = size or 0
    return found


def _image_tower(fields: Any, source: Path) -> int | None:
    """Return patches x layers x width squared of a CLIP's image tower; None for other models.

    Raises `CheckpointError` where a CLIP's sizes are no positive integers.
    """
    if not isinstance(fields, Mapping) or fields.get("model_type") != "clip":
        return None
    vision = fields.get("vision_config", {})
    if not isinstance(vision, Mapping):
        raise CheckpointError(f"{source}: vision_config: expected an object, got {vision!r}")
    vision = {**VISION_DEFAULTS, **vision}
    names = ("image_size", "patch_size", "num_hidden_layers", "hidden_size")
    wrong = [f"vision_config.{n}" for n in names if type(vision[n]) is not int or vision[n] < 1]
    if wrong:
        raise CheckpointError(f"{source}: {', '.join(wrong)}: expected a positive integer")
    image, patch, layers, width = (int(vision[n]) for n in names)
    return (image // patch) ** 2 * layers * width**2


def _is_bundled(files: tuple[Path, ...]) -> bool:
    """Whether these are copies of the bundled weights; sizes first, as large files read slowly."""
    own = find_weights(_BUNDLE)
    if [f.stat().st_size for f in files] != [f.stat().st_size for f in own]:
        return False
    return hash_files(files) == hash_files(own)
