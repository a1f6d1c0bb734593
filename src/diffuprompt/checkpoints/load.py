"""One door to every backbone: a bundled name, a folder, a weight file or a hub id."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from diffuprompt.checkpoints.hf import load_hf
from diffuprompt.checkpoints.hub import cached, fetch
from diffuprompt.checkpoints.open_clip_config import FILE as OPEN_CLIP
from diffuprompt.checkpoints.openai_archive import HUB_IDS, load_openai
from diffuprompt.checkpoints.weights import find_weights, hash_files
from diffuprompt.clip import Clip
from diffuprompt.errors import CheckpointError, near_miss

BUNDLED = "scenes-clip"
PHOTO = "photo-clip-lite"
ASSETS = Path(__file__).resolve().parents[1] / "assets"
CHECKOUT = Path(__file__).resolve().parents[3]  # of a source tree; site-packages' parent otherwise
# OpenAI's own names for the same weights
ALIASES = {
    "ViT-B/16": "openai/clip-vit-base-patch16",
    "ViT-B/32": "openai/clip-vit-base-patch32",
    "ViT-L/14": "openai/clip-vit-large-patch14",
    "ViT-L/14@336px": "openai/clip-vit-large-patch14-336",
}
STATES = (".pt", ".pth", ".bin", ".safetensors")  # endings of weight files that may stand alone
# what open_clip calls its weights in a folder, which is read by the description beside them
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_clip(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    vocabulary: Path | None = None,
) -> Clip:
    """Load a frozen CLIP in evaluation mode.

    Args:
        name_or_path: "scenes-clip" (bundled), "photo-clip-lite", a Hugging Face CLIP folder, a
            folder or weight file of open_clip, an OpenAI ``.pt`` file, a hub id such as
            "openai/clip-vit-base-patch16", or the name of a folder under ``$DIFFUPROMPT_MODELS``.
        device: where the weights go.
        dtype: of the weights, whatever the file stores.
        vocabulary: for a ``.pt`` file only, see `openai_archive.find_vocabulary`.

    Raises:
        CheckpointError: nothing has this name, or a file of it cannot be used.
    """
    name = str(name_or_path)
    path = locate(name)
    if path.is_file():
        clip = load_openai(path, vocabulary=vocabulary, name=name, dtype=dtype)
    else:
        clip = load_hf(path, name=name, dtype=dtype)
    return clip.to(device)


def locate(name: str) -> Path:
    """Return the folder or file of a backbone, fetched from the hub where it is only there.

    Raises `CheckpointError` when nothing has this name, or it is a file of another kind.
    """
    path = find_local(name)
    if path is None and not _is_path(name) and HUB_ID.fullmatch(ALIASES.get(name, name)):
        path = fetch(ALIASES.get(name, name))
    if path is None:
        raise CheckpointError(_unknown(name))
    if path.is_file() and path.suffix not in STATES:
        raise CheckpointError(f"{path}: expected a folder, or a file that ends in {STATES}")
    return path


def find_local(name: str) -> Path | None:
    """Return the folder or file that ``name`` means on this machine, or None.

    A path that exists wins; then the bundled assets; then folders called ``name`` under
    ``$DIFFUPROMPT_MODELS``, in ``models`` inside or beside ``$DIFFUPROMPT_DATA``, and in
    ``../shared/models`` beside a source checkout.
    """
    path = as_path(name)
    if path is not None or _is_path(name):
        return path
    places = [ASSETS, *roots()]
    try:
        return next((r / name for r in places if (r / name / "config.json").is_file()), None)
    except (OSError, ValueError):  # too long for a file's name, a null byte
        return None


def as_path(name: str) -> Path | None:
    """Return the folder or file that ``name`` is the path of, or None for a name or a hub id.

    Of a folder of open_clip it is the weight file.
    """
    try:
        path = Path(name).expanduser()
        if not (path / "config.json").is_file() and (path / OPEN_CLIP).is_file():
            return next((path / w for w in OPEN_CLIP_WEIGHTS if (path / w).is_file()), path)
        if path.is_file() or (path / "config.json").is_file() or (_is_path(name) and path.is_dir()):
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, a user who is not there
        return None
    return None


def is_name(name: str) -> bool:
    """Whether ``name`` is of the form of a model's name or a hub id, and no path."""
    parts = name.split("/")
    return len(parts) <= 2 and not _is_path(name) and all(_NAME.fullmatch(p) for p in parts)


def is_at_hand(name: str) -> bool:
    """Whether loading by this name downloads nothing, or a model of OpenAI's and nothing else."""
    hub = ALIASES.get(name, name)
    if hub in HUB_IDS or find_local(name) is not None:
        return True
    return is_name(name) and HUB_ID.fullmatch(hub) is not None and cached(hub) is not None


def hash_weights(path: Path) -> str:
    """Return the ``weights_hash`` that a backbone at ``path`` has; raises `CheckpointError`."""
    return hash_files([path] if path.is_file() else find_weights(path))


def portable_name(name: str) -> str:
    """Return what to call a backbone on every machine: the last part of a path, or the name."""
    path = as_path(name)
    if path is None:
        return name
    path = path.resolve()
    return (path.parent if path.name in OPEN_CLIP_WEIGHTS else path).name


def known_names() -> list[str]:
    """Names that `load_clip` takes here without a download, and the hub ids most people use."""
    local = [BUNDLED] if (ASSETS / BUNDLED / "config.json").is_file() else []
    local += [name for name, _ in model_folders()]
    return list(dict.fromkeys([*local, *HUB_IDS]))


def model_folders() -> list[tuple[str, Path]]:
    """Return every model in the folders of models, as its name and the folder that it is in.

    Names are what `load_clip` takes: "name", or "owner/name" for a folder within a folder.
    """
    found = []
    for root in roots():
        files = [*root.glob("*/config.json"), *root.glob("*/*/config.json")]
        names = {file.parent.relative_to(root).as_posix() for file in files}
        found += [(name, root) for name in sorted(names)]
    return found


def roots() -> Iterator[Path]:
    """Yield the folders of models, whether or not they exist, in the order of `find_local`."""
    if models := os.environ.get("DIFFUPROMPT_MODELS"):
        yield Path(models).expanduser()
    if data := os.environ.get("DIFFUPROMPT_DATA"):
        yield Path(data).expanduser() / "models"
        yield Path(data).expanduser().parent / "models"
    if (CHECKOUT / "pyproject.toml").is_file():
        yield CHECKOUT.parent / "shared" / "models"


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith(STATES) or Path(name).is_absolute()


def _unknown(name: str) -> str:
    if _is_path(name):
        return f"{name}: no such folder or weight file"
    known = [*known_names(), *ALIASES, BUNDLED, PHOTO]
    where = (
        f" {PHOTO} is not part of the package: set DIFFUPROMPT_MODELS to the folder above it."
        if name == PHOTO
        else near_miss(name, known)
    )
    return (
        f"backbone {name!r} is unknown.{where} Known here: {', '.join(known_names())}; or give a "
        "Hugging Face CLIP folder, an OpenAI .pt file or a hub id 'owner/name'"
    )
