"""A detector as a folder: ``config.json``, ``model.safetensors``, ``tokenizer.json``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers
import torch

from diffuprompt.engine import read_tensors, write_json, write_tensors, write_text
from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.swin import SwinConfig
from diffuprompt.grounding.detectors.trunk import load_trunk
from diffuprompt.reading import read_json

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


def save_detector(model: Glip, tokenizer: CaptionTokenizer, folder: Path) -> None:
    """Write a detector; weights are kept in half precision, and a trunk's only by name."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, {"model_type": "glip", **asdict(model.config)})
    write_text(folder / TOKENIZER, tokenizer.to_json())
    state = {name: value.half() for name, value in _learned(model).items()}
    write_tensors(folder / WEIGHTS, state, {"format": "pt"})


def load_detector(folder: Path) -> tuple[Glip, CaptionTokenizer]:
    """Read a detector, frozen, in evaluation mode, in fp32.

    Raises:
        CheckpointError: a file is missing, damaged or does not fit the configuration, or the
            trunk's backbone is not at hand.
    """
    config = _config(folder / CONFIG)
    model = Glip(config, load_trunk(config.trunk) if config.trunk else None)
    tensors = read_tensors(folder / WEIGHTS)[0]
    own = _learned(model)
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    if {name: tuple(value.shape) for name, value in tensors.items()} != shapes:
        raise CheckpointError(f"{folder / WEIGHTS}: its tensors do not fit {CONFIG}")
    model.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    try:
        backend = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise CheckpointError(f"{folder / TOKENIZER}: not a tokenizer.json ({error})") from error
    return model.eval().requires_grad_(False), CaptionTokenizer(backend)


def _learned(model: Glip) -> dict[str, torch.Tensor]:
    named = {name: value.detach() for name, value in model.named_parameters()}
    return {name: value for name, value in named.items() if not name.startswith("trunk.")}


def _config(path: Path) -> GlipConfig:
    fields = read_json(path)
    try:
        values: dict[str, Any] = {k: _tuples(v) for k, v in fields.items() if k != "model_type"}
        values["swin"] = SwinConfig(**{k: _tuples(v) for k, v in fields["swin"].items()})
        values["bert"] = BertConfig(**fields["bert"])
        return GlipConfig(**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no configuration of a detector ({error})") from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
