"""A GLIP of our own as a folder: ``config.json``, ``model.safetensors``, ``tokenizer.json``.

A trunk is kept by reference: the configuration names the backbone that it is a part of, and
``trunk_weights`` is a hash of that backbone's weights.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from diffuprompt.checkpoints import Origin, fill, find_local, hash_weights
from diffuprompt.engine import in_half, read_tensors, write_json, write_tensors, write_text
from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.swin import SwinConfig
from diffuprompt.grounding.detectors.trunk import load_trunk
from diffuprompt.reading import read_json

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MODEL_TYPE = "glip"
TRUNK = "trunk."  # what the names of its parameters begin with


def save_detector(detector: GlipDetector, folder: Path) -> None:
    """Write a detector; weights are kept in half precision, a trunk's are not kept.

    Raises:
        CheckpointError: the trunk's backbone is not at hand.
    """
    model, trunk = detector.model, detector.model.config.trunk
    weights = _hash(trunk, folder / CONFIG) if trunk else ""
    fields = {"name": detector.name, "side": detector.side, "trunk_weights": weights}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, {"model_type": MODEL_TYPE, **fields, **asdict(model.config)})
    write_text(folder / TOKENIZER, detector.tokenizer.to_json())
    own = {n: p.detach() for n, p in model.named_parameters() if not n.startswith(TRUNK)}
    write_tensors(folder / WEIGHTS, in_half(own), {"format": "pt"})


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
    name, side, weights = (fields.pop(key, None) for key in ("name", "side", "trunk_weights"))
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
    if config.trunk:
        found = _hash(config.trunk, source)
        if found != weights:
            raise CheckpointError(
                f"{source}: trunk: the detector was trained on {config.trunk} with the hash "
                f"{weights}, the one here has {found}"
            )
        model.trunk = load_trunk(config.trunk)
    return GlipDetector(model, tokenizer, name=name, side=side)


def _config(fields: dict[str, Any], source: Path) -> GlipConfig:
    try:
        values = {key: _tuples(value) for key, value in fields.items()}
        values["swin"] = SwinConfig(**{k: _tuples(v) for k, v in fields["swin"].items()})
        values["bert"] = BertConfig(**fields["bert"])
        config = GlipConfig(**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: no configuration of a detector ({error})") from error
    if not isinstance(config.trunk, str):
        raise CheckpointError(f"{source}: trunk: expected a backbone's name, got {config.trunk!r}")
    return config


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _hash(backbone: str, source: Path) -> str:
    place = find_local(backbone)
    if place is None:
        raise CheckpointError(
            f"{source}: trunk: the backbone {backbone!r} is not at hand; put its folder into "
            "$DIFFUPROMPT_MODELS"
        )
    return hash_weights(place)
