"""Where our parameters stand in Hugging Face and in OpenAI checkpoints: one table each.

Both directions come from the same table: `Origin.join` reads, `Origin.split` writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from diffuprompt.checkpoints.weights import Origin
from diffuprompt.clip import ClipConfig, TowerConfig

HF_BUFFERS = frozenset(
    {"text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"}
)
OPENAI_SCALARS = ("input_resolution", "context_length", "vocab_size")

_HF_BLOCK = {
    "ln_1": "layer_norm1",
    "attn.out": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_OPENAI_BLOCK = {
    "ln_1": "ln_1",
    "attn.out": "attn.out_proj",
    "ln_2": "ln_2",
    "fc1": "mlp.c_fc",
    "fc2": "mlp.c_proj",
}


def hf_table(config: ClipConfig, stem: Iterable[str] = ()) -> dict[str, Origin]:
    """Our parameter -> tensors of a Hugging Face CLIP; ``stem`` names the stem's parameters."""
    table = {
        "logit_scale": Origin(("logit_scale",)),
        "text.token_embedding.weight": Origin(("text_model.embeddings.token_embedding.weight",)),
        "text.positions": Origin(("text_model.embeddings.position_embedding.weight",)),
        "text.projection.weight": Origin(("text_projection.weight",)),
        "vision.class_embedding": Origin(("vision_model.embeddings.class_embedding",)),
        "vision.patch_embedding.weight": Origin(
            ("vision_model.embeddings.patch_embedding.weight",)
        ),
        "vision.positions": Origin(("vision_model.embeddings.position_embedding.weight",)),
        "vision.projection.weight": Origin(("visual_projection.weight",)),
        **_affine("text.ln_final", "text_model.final_layer_norm"),
        **_affine("vision.ln_pre", "vision_model.pre_layrnorm"),  # the name's typo is theirs
        **_affine("vision.ln_post", "vision_model.post_layernorm"),
    }
    table |= {f"vision.stem.{name}": Origin((f"vision_model.stem.{name}",)) for name in stem}
    for tower, layers in _depths(config):
        for i in range(layers):
            ours, theirs = f"{tower}.blocks.{i}", f"{tower}_model.encoder.layers.{i}"
            for kind in ("weight", "bias"):
                parts = tuple(f"{theirs}.self_attn.{x}_proj.{kind}" for x in "qkv")
                table[f"{ours}.attn.qkv.{kind}"] = Origin(parts)
            for mine, name in _HF_BLOCK.items():
                table |= _affine(f"{ours}.{mine}", f"{theirs}.{name}")
    return table


def openai_table(config: ClipConfig) -> dict[str, Origin]:
    """Our parameter -> tensors of OpenAI's original state dict (ViT models)."""
    table = {
        "logit_scale": Origin(("logit_scale",)),
        "text.token_embedding.weight": Origin(("token_embedding.weight",)),
        "text.positions": Origin(("positional_embedding",)),
        "text.projection.weight": Origin(("text_projection",), transpose=True),
        "vision.class_embedding": Origin(("visual.class_embedding",)),
        "vision.patch_embedding.weight": Origin(("visual.conv1.weight",)),
        "vision.positions": Origin(("visual.positional_embedding",)),
        "vision.projection.weight": Origin(("visual.proj",), transpose=True),
        **_affine("text.ln_final", "ln_final"),
        **_affine("vision.ln_pre", "visual.ln_pre"),
        **_affine("vision.ln_post", "visual.ln_post"),
    }
    for tower, layers in _depths(config):
        prefix = "transformer" if tower == "text" else "visual.transformer"
        for i in range(layers):
            ours, theirs = f"{tower}.blocks.{i}", f"{prefix}.resblocks.{i}"
            for kind in ("weight", "bias"):
                table[f"{ours}.attn.qkv.{kind}"] = Origin((f"{theirs}.attn.in_proj_{kind}",))
            for mine, name in _OPENAI_BLOCK.items():
                table |= _affine(f"{ours}.{mine}", f"{theirs}.{name}")
    return table


def openai_buffers(config: ClipConfig) -> set[str]:
    """Tensors of an OpenAI archive that are no parameters: three sizes and the causal masks."""
    masks = {
        f"{prefix}.resblocks.{i}.attn_mask"
        for prefix, tower in (("transformer", config.text), ("visual.transformer", config.vision))
        for i in range(tower.layers)
    }
    return masks | set(OPENAI_SCALARS)


def _depths(config: ClipConfig) -> list[tuple[str, int]]:
    towers: list[tuple[str, TowerConfig]] = [("text", config.text), ("vision", config.vision)]
    return [(name, tower.layers) for name, tower in towers]


def _affine(ours: str, theirs: str) -> dict[str, Origin]:
    return {f"{ours}.{kind}": Origin((f"{theirs}.{kind}",)) for kind in ("weight", "bias")}
