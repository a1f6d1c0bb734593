"""GLIP-T(A) as it was released: ``glip_a_tiny_o365.pth``, read strictly by its own keys.

The file holds ``{"model": {"module.…": tensor}, …}``. Every parameter of ours has one tensor there;
what else a file may hold is named in `unused`, and anything beyond that is refused. (The released
code skips what does not fit without a word.)
"""

from __future__ import annotations

from pathlib import Path

import torch

from diffuprompt.checkpoints import Origin, fill, read_torch, unfilled
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector

SIDE = 224  # at which Diff-Prompt runs everything
PARTS = {
    "body.": "backbone.body.",
    "fpn.": "backbone.fpn.",
    "language.": "language_backbone.body.model.",
    "head.": "rpn.head.",
}


def glip_table(config: GlipConfig) -> dict[str, Origin]:
    """Our parameter -> its tensor in the file, without "module."."""
    with unfilled():
        names = [name for name, _ in Glip(config).named_parameters()]
    found = {}
    for name in names:
        part = next(part for part in PARTS if name.startswith(part))
        found[name] = Origin((PARTS[part] + name.removeprefix(part),))
    return found


def unused(config: GlipConfig) -> frozenset[str]:
    """Tensors that a released file may hold and that nothing is computed from.

    Buffers that follow from the configuration, BERT's pooler, and the classifier's dead weights.
    """
    indices = [
        f"backbone.body.layers.{i}.blocks.{k}.attn.relative_position_index"
        for i, depth in enumerate(config.swin.depths)
        for k in range(depth)
    ]
    anchors = [f"rpn.anchor_generator.cell_anchors.{i}" for i in range(len(config.strides))]
    language = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
    classifier = ("rpn.head.cls_logits.weight", "rpn.head.cls_logits.bias")
    return frozenset([*indices, *anchors, *(PARTS["language."] + n for n in language), *classifier])


def load_glip(
    path: Path,
    tokenizer: CaptionTokenizer,
    *,
    config: GlipConfig | None = None,
    name: str = "glip-t-a",
    side: int = SIDE,
) -> GlipDetector:
    """Read a released GLIP, frozen, in fp32; nothing that the file holds is run.

    Args:
        path: of the ``.pth``.
        tokenizer: of bert-base-uncased, see `CaptionTokenizer.from_file`.
        config: of a model other than GLIP-T(A).
        name: see `contract.Detector`.
        side: likewise.

    Raises:
        CheckpointError: the file is damaged, or tensors are missing, unexpected or misshapen; all
            of them are listed.
    """
    config = config or GlipConfig()
    model = Glip(config)
    fill(
        model,
        glip_table(config),
        read_torch(path, "checkpoint of GLIP"),
        ignored=unused(config),
        dtype=torch.float32,
        source=path,
    )
    return GlipDetector(model, tokenizer, name=name, side=side)
