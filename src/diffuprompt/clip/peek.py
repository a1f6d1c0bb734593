"""What a backbone's folder says about itself, read before its weights are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from diffuprompt.clip.config import ClipConfig
from diffuprompt.clip.hf_config import parse_config
from diffuprompt.clip.load import locate
from diffuprompt.clip.tokenizer import Tokenizer
from diffuprompt.clip.weights import find_weights
from diffuprompt.engine.files import read_json


@dataclass(frozen=True, kw_only=True)
class Peek:
    """The shapes, and the temperature's inverse."""

    config: ClipConfig
    scale: float


def peek_clip(name: str) -> Peek | None:
    """Return what is known of a backbone without loading it, None where only loading tells.

    Raises `CheckpointError` as `load_clip` does.
    """
    folder = locate(name)
    if folder.is_file():  # OpenAI's archives have no configuration but their weights
        return None
    scale = next((s for file in find_weights(folder) for s in _scales(file)), None)
    source = folder / "config.json"
    fields = read_json(source)
    if scale is None or not isinstance(fields, dict):
        return None
    return Peek(
        config=parse_config(fields, Tokenizer.from_folder(folder), str(source)), scale=scale
    )


def _scales(path: Path) -> list[float]:
    """Read one number of a safetensors file; whatever is wrong with it, loading will say."""
    if path.suffix != ".safetensors":
        return []
    try:
        with safe_open(str(path), framework="pt") as file:
            if "logit_scale" not in file.keys():
                return []
            return [math.exp(float(file.get_tensor("logit_scale")))]
    except (OSError, ValueError, SafetensorError):
        return []
