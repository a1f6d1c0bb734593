"""The ``config.json`` of a Hugging Face CLIP folder, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.clip import ACTIVATIONS, Activation, ClipConfig, TextConfig, VisionConfig
from diffuprompt.errors import CheckpointError, near_miss

# What transformers fills in; old folders leave out everything that equals these
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
VISION_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
# Far beyond any CLIP: what is larger is a mistake or an attack, and is refused before it takes
# memory. Also by open_clip's names for the same.
LIMITS = {
    **dict.fromkeys(("hidden_size", "width", "projection_dim", "embed_dim"), 2**14),
    **dict.fromkeys(("num_hidden_layers", "layers"), 256),
    **dict.fromkeys(("num_attention_heads", "heads", "head_width", "num_channels"), 2**12),
    **dict.fromkeys(("image_size", "patch_size"), 2**12),
    **dict.fromkeys(("max_position_embeddings", "context_length"), 2**12),
    "intermediate_size": 2**17,
    "vocab_size": 2**22,
}
LEGACY_EOS = 2  # written by old converters: pool at the largest id, which is the end token
DEFAULT_EOS = 49407


def parse_config(fields: Mapping[str, Any], tokenizer: Tokenizer, source: str | Path) -> ClipConfig:
    """Turn the fields of a ``config.json`` into a `ClipConfig`.

    ``text_config_dict`` and ``vision_config_dict`` win over the plain sections, as in
    transformers. Special ids are the tokenizer's. Raises `CheckpointError` naming ``source`` and
    every field that cannot be used.
    """
    problems: list[str] = []
    if fields.get("model_type", "clip") != "clip":
        raise CheckpointError(
            f"{source}: model_type: expected 'clip', got {_short(fields['model_type'])}; only CLIP "
            "folders can be read"
        )
    text = _section(fields, "text_config", TEXT_DEFAULTS, problems)
    vision = _section(fields, "vision_config", VISION_DEFAULTS, problems)
    _check_eos(text.fields.get("eos_token_id", DEFAULT_EOS), tokenizer, problems)
    if text.integer("vocab_size") < tokenizer.vocab_size:
        problems.append(
            f"text_config.vocab_size: {_short(text.fields['vocab_size'])} is fewer than the "
            f"tokenizer's {tokenizer.vocab_size} ids"
        )
    stem = vision.fields.get("stem")
    if isinstance(stem, Mapping):
        _Section("vision_config.stem", {"image_size": 224, **stem}, problems).integer("image_size")
        if not isinstance(stem.get("type"), str):
            problems.append(
                f"vision_config.stem.type: expected text, got {_short(stem.get('type'))}"
            )
    elif stem is not None:
        problems.append(f"vision_config.stem: expected an object, got {_short(stem)}")
    embed_dim = _Section("", {"projection_dim": 512, **fields}, problems).integer("projection_dim")
    text_values, vision_values = text.tower(), vision.tower()
    positions, size = text.integer("max_position_embeddings"), vision.side("image_size")
    patch, channels = vision.side("patch_size"), vision.integer("num_channels")
    if not problems and patch > size:
        problems.append(f"vision_config.patch_size: {patch} is larger than image_size {size}")
    if problems:
        raise CheckpointError(f"{source}: cannot be used\n  " + "\n  ".join(problems))
    return ClipConfig(
        embed_dim=embed_dim,
        text=TextConfig(
            **text_values,
            vocab_size=text.integer("vocab_size"),
            context_length=positions,
            sot=tokenizer.sot,
            eot=tokenizer.eot,
            pad=tokenizer.pad,
        ),
        vision=VisionConfig(
            **vision_values, image_size=size, patch_size=patch, channels=channels, stem=stem
        ),
    )


def config_fields(config: ClipConfig, logit_scale: float, dtype: str) -> dict[str, Any]:
    """Return the fields of a ``config.json`` that `parse_config` and transformers read back."""
    text, vision = config.text, config.vision
    sections: list[dict[str, Any]] = [
        {
            "hidden_size": tower.width,
            "intermediate_size": tower.mlp_width,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "hidden_act": tower.activation,
            "layer_norm_eps": tower.eps,
            "projection_dim": config.embed_dim,
        }
        for tower in (text, vision)
    ]
    sections[0] |= {
        "model_type": "clip_text_model",
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.context_length,
        "bos_token_id": text.sot,
        "eos_token_id": text.eot,
        "pad_token_id": text.pad,
    }
    sections[1] |= {
        "model_type": "clip_vision_model",
        "num_channels": vision.channels,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
    }
    if vision.stem is not None:
        sections[1]["stem"] = dict(vision.stem)
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "logit_scale_init_value": logit_scale,
        "dtype": dtype,
        "text_config": sections[0],
        "vision_config": sections[1],
    }


@dataclass(frozen=True)
class _Section:
    """Checked reading of one section; problems are collected."""

    name: str
    fields: Mapping[str, Any]
    problems: list[str]

    def integer(self, field: str) -> int:
        return self._integer(field, self.fields.get(field))

    def side(self, field: str) -> int:
        value = self.fields.get(field)
        if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        return self._integer(field, value)

    def tower(self) -> dict[str, Any]:
        width, heads = self.integer("hidden_size"), self.integer("num_attention_heads")
        if width % heads:
            self._problem("hidden_size", f"a multiple of num_attention_heads {heads}", width)
        act, eps = self.fields.get("hidden_act"), self.fields.get("layer_norm_eps")
        if not isinstance(act, str) or act not in ACTIVATIONS:
            hint = near_miss(str(act), list(ACTIVATIONS))
            self._problem("hidden_act", f"one of {', '.join(ACTIVATIONS)}", act, hint)
        if not isinstance(eps, float) or not 0 < eps < 1:
            self._problem("layer_norm_eps", "a number above 0, below 1", eps)
        return {
            "width": width,
            "heads": heads,
            "layers": self.integer("num_hidden_layers"),
            "mlp_width": self.integer("intermediate_size"),
            "activation": cast(Activation, act),
            "eps": eps,
        }

    def _integer(self, field: str, value: object) -> int:
        if type(value) is int and 0 < value <= LIMITS[field]:
            return value
        self._problem(field, f"a whole number above 0, at most {LIMITS[field]}", value)
        return 1

    def _problem(self, field: str, expected: str, got: object, hint: str = "") -> None:
        where = f"{self.name}.{field}" if self.name else field
        self.problems.append(f"{where}: expected {expected}, got {_short(got)}{hint}")


def _section(
    fields: Mapping[str, Any], name: str, defaults: Mapping[str, Any], problems: list[str]
) -> _Section:
    plain, override = fields.get(name) or {}, fields.get(f"{name}_dict")
    for key, value in ((name, plain), (f"{name}_dict", override or {})):
        if not isinstance(value, Mapping):
            problems.append(f"{key}: expected an object, got {_short(value)}")
            return _Section(name, defaults, problems)
    if override is None:
        return _Section(name, {**defaults, **plain}, problems)
    return _Section(name, {**plain, **defaults, **override}, problems)


def _short(value: object) -> str:
    return ascii(value)[:120]


def _check_eos(eos: object, tokenizer: Tokenizer, problems: list[str]) -> None:
    """The tower pools at the tokenizer's end token; a config that says otherwise is refused."""
    if eos is None or eos == tokenizer.eot or eos == [tokenizer.eot]:
        return
    if eos == LEGACY_EOS:
        if tokenizer.eot != tokenizer.vocab_size - 1:
            problems.append(
                f"text_config.eos_token_id: {LEGACY_EOS} means pooling at the largest id "
                f"{tokenizer.vocab_size - 1}, but the tokenizer ends with {tokenizer.eot}"
            )
        return
    problems.append(
        f"text_config.eos_token_id: expected the tokenizer's {tokenizer.eot}, got {_short(eos)}"
    )
