"""A GLIP of our own as a folder: ``config.json``, ``model.safetensors``, ``tokenizer.json``.

A trunk is kept by reference: the configuration names the backbone that it is a part of, and a hash
of that backbone's weights.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffuprompt.checkpoints import Origin, fill, find_local, hash_weights
from diffuprompt.engine import read_tensors, write_json, write_tensors, write_text
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.swin import SwinConfig
from diffuprompt.reading import read_json

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MODEL_TYPE = "glip"
TRUNK = "trunk."  # what the names of its parameters begin with


def save_detector(detector: GlipDetector, folder: Path) -> None:
    """Write a detector; weights are kept in half precision, a trunk's are not kept.

    Raises:
        ConfigError: the model has a trunk, and the detector does not name its backbone.
    """
    model, trunk = detector.model, None
    if model.trunk is not None:
        if detector.trunk is None:
            raise ConfigError(
                f"{detector.name}: its trunk is not kept in the folder; give "
                "GlipDetector(trunk=...) the name of the backbone that it is a part of"
            )
        trunk = {"backbone": detector.trunk, "weights": _hash(detector.trunk, folder / CONFIG)}
    fields = {"name": detector.name, "side": detector.side, "trunk": trunk}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, {"model_type": MODEL_TYPE, **fields, **asdict(model.config)})
    write_text(folder / TOKENIZER, detector.tokenizer.to_json())
    state = {n: p.detach().half() for n, p in model.named_parameters() if not n.startswith(TRUNK)}
    write_tensors(folder / WEIGHTS, state, {"format": "pt"})


def load_detector(folder: Path) -> GlipDetector:
    """Read a detector, frozen, in fp32.

    Raises:
        CheckpointError: a file is missing, damaged or does not fit the configuration, or the
            trunk's backbone is not at hand or is another one.
    """
    source = folder / CONFIG
    fields = read_json(source)
    if not isinstance(fields, dict) or fields.pop("model_type", None) != MODEL_TYPE:
        raise CheckpointError(f'{source}: expected "model_type": "{MODEL_TYPE}"')
    name, side, reference = (fields.pop(key, None) for key in ("name", "side", "trunk"))
    if not isinstance(name, str) or type(side) is not int or side < 1:
        raise CheckpointError(
            f"{source}: expected a name and a side in pixels, got {name!r} and {side!r}"
        )
    config = _config(fields, source)
    model = Glip(config)
    names = [name for name, _ in model.named_parameters()]
    fill(
        model,
        {name: Origin((name,)) for name in names},
        read_tensors(folder / WEIGHTS)[0],
        ignored=(),
        dtype=torch.float32,
        source=folder / WEIGHTS,
    )
    tokenizer = CaptionTokenizer.from_file(folder / TOKENIZER)
    if tokenizer.vocab_size > config.bert.vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER}: has {tokenizer.vocab_size} words, the text tower reads "
            f"{config.bert.vocab_size}"
        )
    backbone = None
    if reference is not None:
        backbone = _checked(reference, source)
        model.trunk = _trunk(backbone)
    return GlipDetector(model, tokenizer, name=name, side=side, trunk=backbone)


def _config(fields: dict[str, Any], source: Path) -> GlipConfig:
    try:
        values = {key: _tuples(value) for key, value in fields.items()}
        values["swin"] = SwinConfig(**{k: _tuples(v) for k, v in fields["swin"].items()})
        values["bert"] = BertConfig(**fields["bert"])
        return GlipConfig(**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: no configuration of a detector ({error})") from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _checked(reference: Any, source: Path) -> str:
    """Return the backbone that a configuration names, if it is the same as when it was written."""
    wanted = reference if isinstance(reference, dict) else {}
    backbone, weights = wanted.get("backbone"), wanted.get("weights")
    if not isinstance(backbone, str):
        raise CheckpointError(f"{source}: trunk: expected a backbone's name, got {reference!r}")
    found = _hash(backbone, source)
    if found != weights:
        raise CheckpointError(
            f"{source}: trunk: the detector was trained on {backbone} with the hash {weights}, "
            f"the one here has {found}"
        )
    return backbone


def _hash(backbone: str, source: Path) -> str:
    place = find_local(backbone)
    if place is None:
        raise CheckpointError(
            f"{source}: trunk: the backbone {backbone!r} is not at hand; put its folder into "
            "$DIFFUPROMPT_MODELS"
        )
    return hash_weights(place)


def _trunk(backbone: str) -> nn.Module:
    from diffuprompt.grounding.detectors.trunk import load_trunk

    return load_trunk(backbone)
