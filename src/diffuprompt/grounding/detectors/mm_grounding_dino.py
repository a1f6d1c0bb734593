"""MM-Grounding-DINO (arXiv 2401.02361) and LLMDet (arXiv 2501.18954) of transformers as `Detector`.

A DETR: queries instead of anchors, and no suppression of boxes. Vision and language are fused in an
encoder after the two towers, so prompts act before the fusion.

Legend: B image, Q query, S text token, C channels, F cells of all levels, H rows, W columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.contract import (
    UNCHANGED,
    Adaptation,
    Context,
    Detections,
    Sites,
    Span,
    Tokens,
    VisualPrompt,
)
from diffuprompt.grounding.detectors.call import (
    AdaptableBlock,
    AdaptableEncoder,
    AdaptableLayer,
    Call,
    Prefix,
    adapted,
    into_maps,
    let_read_prefixes,
)
from diffuprompt.grounding.detectors.captions import LONGEST, CaptionTokenizer
from diffuprompt.grounding.detectors.content import content_of
from diffuprompt.grounding.detectors.queries import QueryAnswer, query_boxes, query_losses
from diffuprompt.grounding.detectors.swin import into_windows

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in 0..1
NOWHERE = -50000.0  # logit of padding, where transformers has minus infinity
NOT_CONTENT = ("_name_or_path", "transformers_version")  # of a configuration
STOPS = str.maketrans(".?", ",,")


class MMGroundingDino:
    """A frozen ``MMGroundingDinoForObjectDetection`` with its tokenizer; see `contract.Detector`.

    Where an `Adaptation` may change what goes through the model, the model gets modules of `call`
    around its own; parameters below them have "inner" in their names.
    """

    def __init__(
        self, model: nn.Module, tokenizer: CaptionTokenizer, *, name: str, side: int
    ) -> None:
        self.module: nn.Module = model.eval().requires_grad_(False)
        self.tokenizer, self.name, self.side = tokenizer, name, side
        whole: Any = model
        self.config: Any = whole.config
        backbone, text = whole.model.backbone.conv_encoder.model, whole.model.text_backbone
        if backbone.config.model_type != "swin" or not self.config.two_stage:
            raise ConfigError(
                f"{name}: expected a two-stage MM-Grounding-DINO with a Swin, got a "
                f"{backbone.config.model_type}, two_stage = {self.config.two_stage}"
            )
        let_read_prefixes(backbone)
        let_read_prefixes(text)
        whole.model.encoder = AdaptableEncoder(whole.model.encoder)
        for stage in backbone.swin.encoder.layers:
            stage.blocks = nn.ModuleList(map(AdaptableBlock, stage.blocks))
        text.encoder.layer = nn.ModuleList(map(AdaptableLayer, text.encoder.layer))
        self.blocks: list[Any] = [b for s in backbone.swin.encoder.layers for b in s.blocks]
        self.layers: list[Any] = list(text.encoder.layer)
        self.swin: Any = backbone.config
        self.longest = min(LONGEST, self.config.max_text_len, text.config.max_position_embeddings)
        self.sites = Sites(
            visual=tuple(block.inner.layernorm_before.normalized_shape[0] for block in self.blocks),
            textual=(text.config.hidden_size,) * len(self.layers),
            levels=(self.config.d_model,) * self.config.num_feature_levels,
            language=self.config.d_model,
        )

    @cached_property
    def content(self) -> str:
        """A hash of weights, configuration and vocabulary."""
        config = {k: v for k, v in self.config.to_dict().items() if k not in NOT_CONTENT}
        return content_of(self.module, json.dumps(config, default=str), self.tokenizer.to_json())

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return rows and columns of each visual block's map for pictures of a size."""
        sizes = self._stages(height, width, len(self.swin.depths))
        return [
            size for size, depth in zip(sizes, self.swin.depths, strict=True) for _ in range(depth)
        ]

    def tokens(self, captions: Sequence[str]) -> Tokens:
        """Return captions as the text tower reads them.

        They are lower-cased and end with a full stop. Stops inside are read as commas: each would
        begin a phrase that does not attend to the others, and an expression is one phrase.
        """
        texts = [caption.rstrip(" .?").translate(STOPS) + "." for caption in captions]
        return self.tokenizer(texts, self.longest)

    def unknown(self, caption: str) -> tuple[str, ...]:
        """Return the words of a caption that the text tower has no token for."""
        return self.tokenizer.unknown(caption)

    def run(
        self, pixels_BCHW: Tensor, tokens: Tokens, adaptation: Adaptation = UNCHANGED
    ) -> QueryAnswer:
        """Return what it says about every query.

        Raises:
            DataError: the pictures are so small that there are fewer cells than queries.
        """
        out, size = self._outputs(pixels_BCHW, tokens, adaptation), pixels_BCHW.shape[2:]
        cells = _words(out.enc_outputs_class, tokens)
        best = out.enc_outputs_class.max(-1).values.topk(self.config.num_queries, 1).indices
        answer = QueryAnswer(
            words=_words(out.logits, tokens),
            boxes=out.pred_boxes,
            cells=out.intermediate_hidden_states[:, -1],
            language=out.encoder_last_hidden_state_text,
            first_words=_rows(cells, best),
            first_boxes=_rows(out.enc_outputs_coord_logits, best).sigmoid(),
            size=(size[0], size[1]),
        )
        if adaptation.words is None:
            return answer
        return replace(answer, words=adaptation.words(answer))

    @torch.inference_mode()
    def context(self, pixels_BCHW: Tensor, tokens: Tokens) -> Context:
        """Return what the frozen detector knows.

        Levels and language are what its encoder returns, so they have seen each other; the
        alignment is the word logits of the encoder's cells, of which the best become queries.
        """
        out = self._outputs(pixels_BCHW, tokens, UNCHANGED)
        sizes = self._levels(*pixels_BCHW.shape[2:])
        words = into_maps(_words(out.enc_outputs_class, tokens), sizes)
        return Context(
            levels=tuple(into_maps(out.encoder_last_hidden_state_vision, sizes)),
            alignment=tuple(x.permute(0, 2, 3, 1) for x in words),
            language=out.encoder_last_hidden_state_text,
            tokens=tokens,
        )

    def loss(
        self, answer: QueryAnswer, tokens: Tokens, roots: Sequence[Span], boxes_B4: Tensor
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms, the root phrase standing for the true box.

        Raises:
            ConfigError: scipy is not installed, which the matching needs.
        """
        rows = torch.zeros(len(roots), tokens.ids.shape[1], device=boxes_B4.device)
        for i, root in enumerate(roots):
            rows[i, tokens.of_span(i, root)] = 1
        return query_losses(answer, tokens.mask, rows, boxes_B4, self.config)

    def detect(
        self,
        answer: QueryAnswer,
        tokens: Tokens,
        roots: Sequence[Span],
        size: tuple[int, int],
    ) -> list[Detections]:
        """Return each root phrase's boxes: by the mean probability of its tokens, the best 100."""
        return [
            query_boxes(answer.words[i][:, tokens.of_span(i, root)], answer.boxes[i], size)
            for i, root in enumerate(roots)
        ]

    def _outputs(self, pixels_BCHW: Tensor, tokens: Tokens, adaptation: Adaptation) -> Any:
        height, width = pixels_BCHW.shape[2:]
        cells = sum(rows * columns for rows, columns in self._levels(height, width))
        if cells < self.config.num_queries:
            raise DataError(
                f"{self.name}: pictures of {width} x {height} have {cells} cells, fewer than its "
                f"{self.config.num_queries} queries; give larger ones"
            )
        mean, std = (pixels_BCHW.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        inputs = {
            "pixel_values": (pixels_BCHW - mean) / std,
            "input_ids": tokens.ids,
            "attention_mask": tokens.mask.long(),
        }
        with adapted(self._call(adaptation)):
            if adaptation.weights:
                return functional_call(self.module, dict(adaptation.weights), (), inputs)
            return self.module(**inputs)

    def _call(self, adaptation: Adaptation) -> Call:
        prefixes: dict[nn.Module, Prefix] = {}
        for block, prompt in zip(self.blocks, adaptation.visual, strict=False):
            if prompt is not None and (prefix := _visual(block.inner, prompt)) is not None:
                prefixes[block.inner.attention] = prefix
        for layer, tokens in zip(self.layers, adaptation.textual, strict=False):
            if tokens is not None and tokens.shape[1]:
                prefixes[layer.inner.attention.self] = Prefix(tokens=tokens)
        changes = [
            *zip(self.blocks, adaptation.visual_layers, strict=False),
            *zip(self.layers, adaptation.textual_layers, strict=False),
        ]
        return Call(
            prefixes=prefixes,
            after={module: change for module, change in changes if change is not None},
            levels=adaptation.levels,
            language=adaptation.language,
        )

    def _stages(self, height: int, width: int, count: int) -> list[tuple[int, int]]:
        patch = self.swin.patch_size
        sizes = [(-(-height // patch), -(-width // patch))]
        while len(sizes) < count:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    def _levels(self, height: int, width: int) -> list[tuple[int, int]]:
        stages = [i - 1 for i in self.swin.out_indices]  # 0 is the patch embedding
        extra = self.config.num_feature_levels - len(stages)
        sizes = self._stages(height, width, stages[-1] + 1 + extra)
        return [sizes[i] for i in [*stages, *range(stages[-1] + 1, len(sizes))]]


def _visual(block: Any, prompt: VisualPrompt) -> Prefix | None:
    if prompt.mixed or prompt.misplaced:
        raise ConfigError(
            "method: batch_mixup and bias_shift repeat mistakes of Diff-Prompt's release in GLIP, "
            "which this detector does not have; set them to false"
        )
    tokens = None if prompt.tokens is None or not prompt.tokens.shape[1] else prompt.tokens
    if tokens is None and prompt.grid is None:
        return None
    if prompt.grid is None:
        return Prefix(tokens=tokens)
    windows, _ = into_windows(prompt.grid, block.window_size, block.shift_size)
    return Prefix(tokens=tokens, windows=windows)


def _words(logits: Tensor, tokens: Tokens) -> Tensor:
    """Return logits of the captions' tokens; transformers pads them to the longest caption."""
    kept = logits[..., : tokens.ids.shape[1]]
    return kept.masked_fill(~tokens.mask[:, None], NOWHERE)


def _rows(x_BFC: Tensor, chosen_BQ: Tensor) -> Tensor:
    return x_BFC.gather(1, chosen_BQ[..., None].expand(-1, -1, x_BFC.shape[-1]))
