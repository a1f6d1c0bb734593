"""Checkpoints from the Hugging Face hub: the cache first, then the network, only what is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from diffuprompt.checkpoints.weights import find_weights
from diffuprompt.errors import CheckpointError

PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
SMALL = ["config.json", *PREPROCESSING, "tokenizer.json", "vocab.json", "merges.txt"]
SAFE = ["model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
PATIENCE_S = 5.0  # for the hub's first answer
TORCH = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]


def fetch(repo: str) -> Path:
    """Return the local folder of a hub repository; a complete cached copy is used offline.

    Raises `CheckpointError` when it is not cached and cannot be downloaded.
    """
    try:
        from huggingface_hub import model_info, snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{repo}: reading from the hub needs huggingface_hub; pip install 'diffuprompt[hub]'. "
            + _by_hand(repo)
        ) from error
    found = cached(repo)
    if found is not None:
        return found
    try:
        model_info(repo, timeout=PATIENCE_S)  # downloads wait for ever where nothing answers
        folder = Path(snapshot_download(repo, allow_patterns=SMALL + SAFE))
        if not _complete(folder):  # no safetensors there
            folder = Path(snapshot_download(repo, allow_patterns=SMALL + TORCH))
    except Exception as error:  # a proxy's or a client's own errors have no base class in common
        raise CheckpointError(
            f"{repo}: not in the local cache and cannot be downloaded ({first_line(error)}). "
            f"{_by_hand(repo)}"
        ) from error
    return folder


def first_line(error: BaseException | None) -> str:
    """Return what an error of the hub's client says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def has_hub() -> bool:
    """Whether the hub's client is installed."""
    return find_spec("huggingface_hub") is not None


def cached(repo: str) -> Path | None:
    """Return the folder of a hub repository that was downloaded before, or None."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    return folder if _complete(folder) else None


def _complete(folder: Path) -> bool:
    vocabulary = (folder / "tokenizer.json").is_file() or (folder / "merges.txt").is_file()
    pixels = any((folder / name).is_file() for name in PREPROCESSING)
    if not vocabulary or not pixels or not (folder / "config.json").is_file():
        return False
    try:
        return bool(find_weights(folder))
    except CheckpointError:
        return False


def _by_hand(repo: str) -> str:
    return (
        f"On a machine with a network: hf download {repo} --local-dir DIR; then give "
        f"DIR, or put it at $DIFFUPROMPT_MODELS/{repo}. It needs config.json, "
        "preprocessor_config.json (or processor_config.json), tokenizer.json and "
        "model.safetensors or pytorch_model.bin"
    )
