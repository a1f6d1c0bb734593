"""A Hugging Face CLIP folder: the package's canonical checkpoint, read strictly and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from diffuprompt.checkpoints.hf_config import config_fields, parse_config
from diffuprompt.checkpoints.keys import HF_BUFFERS, hf_table
from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.checkpoints.weights import fill, find_weights, hash_files, read_weights, unfilled
from diffuprompt.clip import Clip, ClipConfig, build_stem
from diffuprompt.data import Preprocess
from diffuprompt.engine import write_bytes, write_json, write_tensors
from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json

PROCESSOR = "processor_config.json"


def load_hf(folder: Path, *, name: str = "", dtype: torch.dtype = torch.float32) -> Clip:
    """Read ``folder`` into a frozen `Clip` on the CPU, with strict keys.

    Needs config.json, preprocessor_config.json (or processor_config.json), a vocabulary
    (tokenizer.json, or vocab.json and merges.txt) and weights (model.safetensors or
    pytorch_model.bin, whole or sharded). Weights of any floating dtype become ``dtype``. Raises
    `CheckpointError` naming the file and field.
    """
    tokenizer = Tokenizer.from_folder(folder)
    source = folder / "config.json"
    config = parse_config(read_fields(source), tokenizer, str(source))
    preprocess = read_preprocess(folder, config)
    files = find_weights(folder)
    with unfilled():
        clip = Clip(
            config,
            tokenizer,
            preprocess,
            stem=build_stem(config.vision.stem),
            name=name or str(folder),
            weights_hash=hash_files(files),
        )
    stem = [key for key, _ in clip.vision.stem.named_parameters()]
    table, tensors = hf_table(config, stem), read_weights(files)
    fill(clip, table, tensors, ignored=HF_BUFFERS, dtype=dtype, source=files[0])
    return clip.freeze()


def read_preprocess(folder: Path, config: ClipConfig) -> Preprocess:
    """Read ``preprocessor_config.json``, which must make what the image tower reads.

    Folders saved by transformers 5 have it as the ``image_processor`` of ``processor_config.json``.
    Raises `CheckpointError` naming the file and field.
    """
    source, fields = folder / "preprocessor_config.json", None
    if not source.is_file() and (folder / PROCESSOR).is_file():
        source = folder / PROCESSOR
        fields = read_fields(source).get("image_processor")
        if not isinstance(fields, dict):
            raise CheckpointError(f"{source}: image_processor: expected an object, got {fields!r}")
    preprocess = Preprocess.from_hf(fields or read_fields(source), source)
    side = int((config.vision.stem or {}).get("image_size", config.vision.image_size))
    if preprocess.output_size != (side, side):
        raise CheckpointError(
            f"{source}: crop_size: expected {side} x {side}, which the image tower reads, got "
            f"{preprocess.output_size}"
        )
    return preprocess


def save_hf(clip: Clip, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write ``clip`` as a folder that `load_hf` and transformers read; exact unless ``dtype``.

    With a stem, transformers reads the towers above it: it keeps the ``stem`` field and ignores
    it, and wants the stem's tensors taken out.
    """
    table = hf_table(clip.config, [key for key, _ in clip.vision.stem.named_parameters()])
    tensors: dict[str, torch.Tensor] = {}
    for ours, parameter in clip.state_dict().items():
        value = parameter.detach().cpu()
        tensors |= table[ours].split(value if dtype is None else value.to(dtype))
    folder.mkdir(parents=True, exist_ok=True)
    kept = str(tensors["logit_scale"].dtype).removeprefix("torch.")
    fields = config_fields(clip.config, float(clip.logit_scale.detach()), kept)
    write_json(folder / "config.json", fields)
    write_json(folder / "preprocessor_config.json", clip.preprocess.to_hf())
    write_bytes(folder / "tokenizer.json", clip.tokenizer.to_bytes())
    write_tensors(folder / "model.safetensors", tensors, metadata={"format": "pt"})


def read_fields(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `CheckpointError` naming the file."""
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(fields).__name__}")
    return fields
