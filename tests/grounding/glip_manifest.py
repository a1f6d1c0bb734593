"""Names and shapes of ``glip_a_tiny_o365.pth``, written out from the description of its modules."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]

BODY, TEXT, HEAD = "backbone.body.", "language_backbone.body.model.", "rpn.head."


def affine(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def swin(width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> Shapes:
    found = affine(f"{BODY}patch_embed.proj", width, 3, 4, 4) | affine(
        f"{BODY}patch_embed.norm", width
    )
    for i, depth in enumerate(depths):
        c = width * 2**i
        for k in range(depth):
            at = f"{BODY}layers.{i}.blocks.{k}."
            found |= affine(at + "norm1", c) | affine(at + "norm2", c)
            found |= affine(at + "attn.qkv", 3 * c, c) | affine(at + "attn.proj", c, c)
            found |= affine(at + "mlp.fc1", 4 * c, c) | affine(at + "mlp.fc2", c, 4 * c)
            found[at + "attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads[i])
        if i < len(depths) - 1:
            at = f"{BODY}layers.{i}.downsample."
            found |= {at + "reduction.weight": (2 * c, 4 * c)} | affine(at + "norm", 4 * c)
        if i:
            found |= affine(f"{BODY}norm{i}", c)
    return found


def fpn(width: int, channels: int) -> Shapes:
    found: Shapes = {}
    for i in (2, 3, 4):
        found |= affine(f"backbone.fpn.fpn_inner{i}", channels, width * 2 ** (i - 1), 1, 1)
        found |= affine(f"backbone.fpn.fpn_layer{i}", channels, channels, 3, 3)
    for name in ("p6", "p7"):
        found |= affine(f"backbone.fpn.top_blocks.{name}", channels, channels, 3, 3)
    return found


def bert(vocab: int, width: int, layers: int, hidden: int, length: int) -> Shapes:
    at = TEXT + "embeddings."
    found = {
        at + "word_embeddings.weight": (vocab, width),
        at + "position_embeddings.weight": (length, width),
        at + "token_type_embeddings.weight": (2, width),
    } | affine(at + "LayerNorm", width)
    for i in range(layers):
        at = f"{TEXT}encoder.layer.{i}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            found |= affine(at + part, width, width)
        found |= affine(at + "attention.output.dense", width, width)
        found |= affine(at + "attention.output.LayerNorm", width)
        found |= affine(at + "intermediate.dense", hidden, width)
        found |= affine(at + "output.dense", width, hidden) | affine(at + "output.LayerNorm", width)
    return found


def head(channels: int, blocks: int, text: int, levels: int) -> Shapes:
    found: Shapes = {}
    for k in range(blocks):
        at = f"{HEAD}dyhead_tower.{k}."
        for j in range(3):
            found |= affine(f"{at}DyConv.{j}.conv", channels, channels, 3, 3)
            found |= affine(f"{at}DyConv.{j}.bn", channels)
        found |= affine(at + "AttnConv.1", 1, channels, 1, 1)
        found |= affine(at + "relu.fc.0", channels // 4, channels)
        found |= affine(at + "relu.fc.2", 4 * channels, channels // 4)
        found |= affine(at + "offset", 27, channels, 3, 3)
    found |= affine(HEAD + "bbox_pred", 4, channels, 1, 1)
    found |= affine(HEAD + "centerness", 1, channels, 1, 1)
    found |= affine(HEAD + "dot_product_projection_text", channels, text)
    found |= {HEAD + "log_scale": (1,), HEAD + "bias_lang": (text,), HEAD + "bias0": (1,)}
    return found | {f"{HEAD}scales.{i}.scale": (1,) for i in range(levels)}


def glip_t_a() -> Shapes:
    return (
        swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7)
        | fpn(96, 256)
        | bert(30522, 768, 12, 3072, 512)
        | head(256, 6, 768, 5)
    )
