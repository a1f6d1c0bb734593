"""What a backbone says about itself, read before its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open

from diffuprompt.checkpoints.hf import read_preprocess
from diffuprompt.checkpoints.hf_config import parse_config
from diffuprompt.checkpoints.load import load_clip, locate
from diffuprompt.checkpoints.openai_archive import peek_openai
from diffuprompt.checkpoints.state_dict import peek_torch
from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.checkpoints.weights import find_weights, hash_files, read_scale
from diffuprompt.clip import Clip, ClipConfig, Encoder, clip_identity
from diffuprompt.data import Preprocess
from diffuprompt.reading import read_json


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """Everything of a backbone but its weights.

    ``scale`` is the temperature's inverse; ``files`` are the weight files in their order.
    """

    config: ClipConfig
    tokenizer: Encoder
    preprocess: Preprocess
    scale: float
    files: tuple[Path, ...]

    @cached_property
    def weights_hash(self) -> str:
        """Sixteen hex digits of the weight files' sha256."""
        return hash_files(self.files)

    @cached_property
    def identity(self) -> str:
        """See `clip_identity`."""
        return clip_identity(self.config, self.tokenizer, self.preprocess, self.weights_hash)


def read_header(name: str) -> Header:
    """Return what is known of a backbone, where possible without loading it.

    Raises `CheckpointError` as `load_clip` does.
    """
    place = locate(name)
    found = _of_archive(place) if place.is_file() else _of_folder(place)
    if found is not None:
        return found
    clip: Clip = load_clip(name)  # only loading tells
    return Header(
        config=clip.config,
        tokenizer=clip.tokenizer,
        preprocess=clip.preprocess,
        scale=float(clip.scale),
        files=(place,) if place.is_file() else tuple(find_weights(place)),
    )


def _of_archive(path: Path) -> Header | None:
    found = peek_openai(path)
    if found is None:
        return None
    config, tokenizer, preprocess, logit_scale = found
    return Header(
        config=config,
        tokenizer=tokenizer,
        preprocess=preprocess,
        scale=read_scale(logit_scale, path),
        files=(path,),
    )


def _of_folder(folder: Path) -> Header | None:
    files = find_weights(folder)
    scale = next((s for file in files for s in _scales(file)), None)
    source = folder / "config.json"
    fields = read_json(source)
    if scale is None or not isinstance(fields, dict):
        return None
    tokenizer = Tokenizer.from_folder(folder)
    config = parse_config(fields, tokenizer, str(source))
    return Header(
        config=config,
        tokenizer=tokenizer,
        preprocess=read_preprocess(folder, config),
        scale=scale,
        files=tuple(files),
    )


def _scales(path: Path) -> list[float]:
    """Read one number of a weight file; whatever is wrong with it, loading will say."""
    try:
        if path.suffix != ".safetensors":
            scale = (peek_torch(path) or {}).get("logit_scale")
        else:
            with safe_open(str(path), framework="pt") as file:
                scale = file.get_tensor("logit_scale") if "logit_scale" in file.keys() else None
    except (OSError, ValueError, SafetensorError):
        return []
    if scale is None or scale.is_meta or scale.numel() != 1 or scale.is_complex():
        return []
    return [read_scale(float(scale), path)]
