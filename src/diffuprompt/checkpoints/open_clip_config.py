"""``open_clip_config.json``, what open_clip keeps beside a checkpoint; plain ViT models only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffuprompt.checkpoints.hf_config import LIMITS
from diffuprompt.checkpoints.tokenizer import Tokenizer
from diffuprompt.clip import Activation, ClipConfig, TextConfig, VisionConfig
from diffuprompt.data import Preprocess
from diffuprompt.errors import CheckpointError
from diffuprompt.reading import read_json

FILE = "open_clip_config.json"
RESAMPLE = {"bicubic": 3, "bilinear": 2}
# Fields that may stand there as long as they say what our towers do; all others are refused
_SAME: dict[str, dict[str, tuple[Any, ...]]] = {
    "model_cfg": {
        "custom_text": (False, True),
        "init_logit_bias": (None,),
        "nonscalar_logit_scale": (False,),
    },
    "vision_cfg": {
        "ls_init_value": (None,),
        "attentional_pool": (False,),
        "global_average_pool": (False,),
        "input_patchnorm": (False,),
        "no_ln_pre": (False,),
        "final_ln_after_pool": (False,),
        "output_tokens": (False,),
        "pool_type": ("tok",),
        "pos_embed_type": ("learnable",),
        "timm_model_name": (None,),
        "act_kwargs": (None, {}),
        "norm_kwargs": (None, {}),
    },
    "text_cfg": {
        "hf_model_name": (None,),
        "hf_tokenizer_name": (None, ""),
        "ls_init_value": (None,),
        "embed_cls": (False,),
        "no_causal_mask": (False,),
        "final_ln_after_pool": (False,),
        "output_tokens": (False,),
        "pool_type": ("argmax",),
        "proj_bias": (False,),
        "proj_type": ("linear",),
        "act_kwargs": (None, {}),
        "norm_kwargs": (None, {}),
        "tokenizer_kwargs": (None, {}),
    },
    "preprocess_cfg": {"mode": ("RGB",)},
}
# Of training, of construction, or without meaning for a tower of images and of causal text
_IDLE = {
    "model_cfg": {
        "embed_dim",
        "vision_cfg",
        "text_cfg",
        "quick_gelu",
        "init_logit_scale",
        "cast_dtype",
    },
    "vision_cfg": {
        "image_size",
        "layers",
        "width",
        "patch_size",
        "head_width",
        "mlp_ratio",
        "patch_dropout",
    },
    "text_cfg": {
        "context_length",
        "vocab_size",
        "width",
        "heads",
        "layers",
        "mlp_ratio",
        "pad_id",
        "eos_id",
    },
    "preprocess_cfg": {"mean", "std", "interpolation", "resize_mode", "size", "fill_color"},
}


def read_open_clip(path: Path, tokenizer: Tokenizer) -> tuple[ClipConfig, Preprocess]:
    """Return what ``path`` says of the towers and of the pictures they read.

    Missing fields have open_clip's defaults, but for the mean and standard deviation of pixels,
    which have to be there. Raises `CheckpointError` with every field that cannot be used.
    """
    read = _Fields(path, read_json(path))
    model, pixels = read.section("model_cfg"), read.section("preprocess_cfg")
    vision, text = read.section("vision_cfg", model), read.section("text_cfg", model)
    for name, fields in read.sections.items():
        read.unknown(name, fields)
    activation: Activation = "quick_gelu" if read.flag("quick_gelu", model) else "gelu"
    width = read.whole("width", vision, 768)
    head = read.whole("head_width", vision, 64)
    text_width, heads = read.whole("width", text, 512), read.whole("heads", text, 8)
    if width % head:
        read.problem("vision_cfg.head_width", f"a divisor of width {width}", head)
    if text_width % heads:
        read.problem("text_cfg.heads", f"a divisor of width {text_width}", heads)
    side = read.whole("image_size", vision, 224)
    patch = read.whole("patch_size", vision, 16)
    if patch > side:
        read.problem("vision_cfg.patch_size", f"at most image_size {side}", patch)
    preprocess = read.preprocess(pixels, side)
    vocabulary = read.whole("vocab_size", text, 49408)
    layers = read.whole("layers", vision, 12), read.whole("layers", text, 12)
    embed_dim = read.whole("embed_dim", model, None)
    positions = read.whole("context_length", text, 77)
    mlp = read.mlp(vision, width), read.mlp(text, text_width)
    read.finish()
    return (
        ClipConfig(
            embed_dim=embed_dim,
            text=TextConfig(
                width=text_width,
                layers=layers[1],
                heads=heads,
                mlp_width=mlp[1],
                activation=activation,
                vocab_size=vocabulary,
                context_length=positions,
                sot=tokenizer.sot,
                eot=tokenizer.eot,
                pad=tokenizer.pad,
            ),
            vision=VisionConfig(
                width=width,
                layers=layers[0],
                heads=width // head,
                mlp_width=mlp[0],
                activation=activation,
                image_size=side,
                patch_size=patch,
            ),
        ),
        preprocess,
    )


@dataclass
class _Fields:
    path: Path
    content: Any
    problems: list[str] = field(default_factory=list)
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def section(self, name: str, inside: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        outer = self.content if inside is None else inside
        found = outer.get(name) if isinstance(outer, Mapping) else None
        if not isinstance(found, Mapping):
            self.problem(name, "an object", found)
            found = {}
        self.sections[name] = found
        return found

    def unknown(self, name: str, fields: Mapping[str, Any]) -> None:
        for key, value in fields.items():
            if key in _SAME[name]:
                if not any(type(value) is type(x) and value == x for x in _SAME[name][key]):
                    self.problem(f"{name}.{key}", f"one of {list(_SAME[name][key])}", value)
            elif key not in _IDLE[name]:
                self.problem(
                    f"{name}.{key}", "a field of a plain ViT and a causal text tower", value
                )

    def whole(self, key: str, fields: Mapping[str, Any], default: int | None) -> int:
        value = fields.get(key, default)
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if type(value) is int and 0 < value <= LIMITS[key]:
            return value
        self.problem(key, f"a whole number from 1 to {LIMITS[key]}", value)
        return 1

    def flag(self, key: str, fields: Mapping[str, Any]) -> bool:
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.problem(key, "true or false", value)
        return value is True

    def mlp(self, fields: Mapping[str, Any], width: int) -> int:
        value = fields.get("mlp_ratio", 4.0)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 64:
            return max(int(width * value), 1)
        self.problem("mlp_ratio", "a number above 0, at most 64", value)
        return 1

    def preprocess(self, fields: Mapping[str, Any], side: int) -> Preprocess:
        for key in ("mean", "std"):
            if fields.get(key) is None:
                self.problem(f"preprocess_cfg.{key}", "three numbers", "nothing")
        filter_, mode = (
            fields.get("interpolation", "bicubic"),
            fields.get("resize_mode", "shortest"),
        )
        if filter_ not in list(RESAMPLE):
            self.problem("preprocess_cfg.interpolation", f"one of {list(RESAMPLE)}", filter_)
        if mode not in ("shortest", "squash"):
            self.problem("preprocess_cfg.resize_mode", "'shortest' or 'squash'", mode)
        if fields.get("size", side) not in (side, [side, side]):
            self.problem("preprocess_cfg.size", f"the image_size {side}", fields["size"])
        squash = {"height": side, "width": side}
        told = {
            "size": squash if mode == "squash" else {"shortest_edge": side},
            "crop_size": squash,
            "do_center_crop": mode != "squash",
            "resample": RESAMPLE[filter_] if filter_ in list(RESAMPLE) else 3,
            "image_mean": fields.get("mean"),
            "image_std": fields.get("std"),
        }
        return Preprocess.from_hf(told, f"{self.path}: preprocess_cfg")

    def problem(self, name: str, expected: str, got: object) -> None:
        self.problems.append(f"{name}: expected {expected}, got {ascii(got)[:120]}")

    def finish(self) -> None:
        if self.problems:
            lines = "\n  ".join(self.problems)
            raise CheckpointError(f"{self.path}: cannot be used\n  {lines}")
