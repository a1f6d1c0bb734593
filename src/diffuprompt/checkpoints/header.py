"""What a backbone says about itself, read before its weights are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from diffuprompt.checkpoints.hf_config import parse_config
from diffuprompt.checkpoints.load import locate
from diffuprompt.checkpoints.openai_archive import peek_openai
from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.checkpoints.weights import find_weights, peek_torch
from diffuprompt.clip.config import ClipConfig
from diffuprompt.engine.files import read_json


@dataclass(frozen=True, kw_only=True)
class Header:
    """The shapes, the words, and the temperature's inverse."""

    config: ClipConfig
    tokenizer: Tokenizer
    scale: float


def read_header(name: str) -> Header | None:
    """Return what is known of a backbone without loading it, None where only loading tells.

    Raises `CheckpointError` as `load_clip` does.
    """
    folder = locate(name)
    if folder.is_file():
        found = peek_openai(folder)
        if found is None:
            return None
        config, tokenizer, logit_scale = found
        return Header(config=config, tokenizer=tokenizer, scale=math.exp(logit_scale))
    scale = next((s for file in find_weights(folder) for s in _scales(file)), None)
    source = folder / "config.json"
    fields = read_json(source)
    if scale is None or not isinstance(fields, dict):
        return None
    tokenizer = Tokenizer.from_folder(folder)
    config = parse_config(fields, tokenizer, str(source))
    return Header(config=config, tokenizer=tokenizer, scale=scale)


def _scales(path: Path) -> list[float]:
    """Read one number of a weight file; whatever is wrong with it, loading will say."""
    try:
        if path.suffix != ".safetensors":
            scale = (peek_torch(path) or {}).get("logit_scale")
        else:
            with safe_open(str(path), framework="pt") as file:
                scale = file.get_tensor("logit_scale") if "logit_scale" in file.keys() else None
        return [] if scale is None or scale.is_meta else [math.exp(float(scale))]
    except (OSError, ValueError, SafetensorError):
        return []
