"""The causal text tower and the one door to its paths.

Legend: B image, C class, L prompt token, S sequence, D width, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffuprompt.clip.changes import TowerChange, normed
from diffuprompt.clip.config import TextConfig
from diffuprompt.clip.layers import Blocks, init_transformer
from diffuprompt.clip.text_fast import encode_grouped, encode_shared
from diffuprompt.clip.text_plain import encode_plain, encode_truncated, plain_states
from diffuprompt.clip.tokens import PromptedTokens
from diffuprompt.engine import Precision, mixed
from diffuprompt.errors import PromptShapeError

TextPrompts = Mapping[int, Tensor]
DROPPED = 64  # classes a chunk under dropout


@dataclass(frozen=True, kw_only=True)
class TextPlan:
    """How to compute text features; every choice gives the same numbers but for rounding.

    Sums over other numbers of tokens in one product are rounded in another order: by about 1e-6
    of a feature's length in fp32, and in what is trained for long by more.

    Attributes:
        path: "fast" (shared prefix, packed suffixes; grouped by length where prompts cannot be
            shared), or the references "truncated" and "plain".
        memory_mib: activations above this are computed in chunks over images and classes; under a
            change with dropout chunks are of 64 classes, whatever the budget.
        recompute: activation checkpointing: chunks are computed again in the backward pass.
    """

    path: Literal["fast", "truncated", "plain"] = "fast"
    memory_mib: int = 2048
    recompute: bool = False


class TextTower(nn.Module):
    """CLIP's text tower (Radford et al. 2021) with prompt vectors as arguments.

    ``precision`` is that of passes with prompts or changes; features are returned in the weights'
    type.
    """

    precision: Precision = "fp32"

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Parameter(torch.empty(config.context_length, width))
        nn.init.normal_(self.positions, std=0.01)
        self.blocks = Blocks(config)
        self.ln_final = nn.LayerNorm(width, eps=config.eps)
        self.projection = nn.Linear(width, embed_dim, bias=False)
        init_transformer(self.blocks, width, config.layers)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.projection.weight, std=width**-0.5)

    def forward(
        self,
        tokens: PromptedTokens,
        prompts: TextPrompts | None = None,
        plan: TextPlan | None = None,
        change: TowerChange | None = None,
    ) -> Tensor:
        """Return text features ``(B|1, C, E)``, not normalised.

        Args:
            tokens: C texts with places for M prompt vectors.
            prompts: layer -> ``(B|1, C|1, M, D)``; layer 0 replaces the embeddings (a position is
                added), deeper layers replace the states at the same places.
            plan: which path, how much memory.
            change: what differs in the tower for this call.

        Raises:
            PromptShapeError: prompts or changes do not fit the tower or the texts.
        """
        plan, prompts = plan or TextPlan(), prompts or {}
        batch = self._check(tokens, prompts)
        if change is not None:
            change.check(self.config, "text")
        images, classes, recompute = self._chunks(tokens, prompts, plan, batch, change)
        precision = self.precision if prompts or change is not None else "fp32"
        rows = []
        for start in range(0, batch, images):
            at = slice(start, start + images)
            own = {k: p if p.shape[0] == 1 else p[at] for k, p in prompts.items()}
            columns = []
            for number, part in enumerate(tokens.split(classes)):
                cut = slice(number * classes, (number + 1) * classes)
                differs = None if change is None else change.in_chunk(number)
                own_part = {k: p if p.shape[1] == 1 else p[:, cut] for k, p in own.items()}
                args = (part, own_part, plan.path, min(images, batch - start), differs)
                with mixed(precision, self.positions.device):
                    features = (
                        checkpoint(self._encode, *args, use_reentrant=False)
                        if recompute
                        else self._encode(*args)
                    )
                columns.append(features.to(self.positions.dtype))
            rows.append(torch.cat(columns, dim=1))
        return torch.cat(rows)

    def states(
        self,
        tokens: PromptedTokens,
        prompts: TextPrompts | None = None,
        change: TowerChange | None = None,
    ) -> Tensor:
        """Return the states of all positions behind the final norm, ``(B|1, C, S, D)``.

        This is what Stable Diffusion reads of a text; arguments and errors as of `forward`.
        """
        prompts = prompts or {}
        batch = self._check(tokens, prompts)
        if change is not None:
            change.check(self.config, "text")
        other = None if change is None else change.ln_last
        return normed(self.ln_final, plain_states(self, tokens, prompts, batch, change), other)

    def project(self, pooled: Tensor, change: TowerChange | None = None) -> Tensor:
        """Final norm and projection: ``(..., D)`` to ``(..., E)``."""
        other = None if change is None else change.ln_last
        return self.projection(normed(self.ln_final, pooled, other))

    def embed(self, ids: Tensor) -> Tensor:
        """Frozen token embeddings ``(..., D)`` of ids ``(...,)``: initial values of prompts."""
        return self.token_embedding(ids)

    def _encode(
        self,
        tokens: PromptedTokens,
        prompts: TextPrompts,
        path: str,
        batch: int,
        change: TowerChange | None,
    ) -> Tensor:
        if path == "plain":
            return encode_plain(self, tokens, prompts, batch, change)
        if path == "truncated":
            return encode_truncated(self, tokens, prompts, batch, change)
        if tokens.packing is not None and all(p.shape[1] == 1 for p in prompts.values()):
            return encode_shared(self, tokens.packing, prompts, change)
        return encode_grouped(self, tokens, prompts, batch, change)

    def _chunks(
        self,
        tokens: PromptedTokens,
        prompts: TextPrompts,
        plan: TextPlan,
        batch: int,
        change: TowerChange | None = None,
    ) -> tuple[int, int, bool]:
        """Return images and classes a chunk, and whether chunks are recomputed in the backward.

        Masks of dropout follow the chunks, which then must not follow the budget.
        """
        if plan.path != "fast":
            per_class = tokens.ids.shape[1]
        elif tokens.packing is not None:
            per_class = -(-tokens.packing.num_tokens // len(tokens))
        else:
            per_class = tokens.longest
        # Bytes that a token needs at once in a block, and that a block keeps for its backward pass.
        size = next(iter(prompts.values())).element_size() if prompts else 4
        working, kept = 14 * self.config.width * size, self.blocks.kept_bytes(size)
        budget = plan.memory_mib * 2**20
        learned = any(p.requires_grad for p in prompts.values())
        if change is not None:
            kept += change.kept_vectors * self.config.width * size * len(self.blocks)
            learned = learned or change.requires_grad
        graph = torch.is_grad_enabled() and learned
        whole = batch * len(tokens) * per_class
        recompute = graph and (plan.recompute or whole * kept > budget)
        if change is not None and change.drops:
            return batch, min(DROPPED, len(tokens)), recompute
        if graph and not recompute:
            return batch, len(tokens), False
        fit = max(1, budget // ((kept if recompute else working) * per_class))
        if fit >= len(tokens):
            return min(batch, fit // len(tokens)), len(tokens), recompute
        return 1, fit, recompute

    def _check(self, tokens: PromptedTokens, prompts: TextPrompts) -> int:
        """Return the number of images B; every misfit is a `PromptShapeError`."""
        problems, batches = [], {1}
        want = f"(B|1, {len(tokens)}|1, {tokens.num_ctx}, {self.config.width})"
        for layer, p in prompts.items():
            if not 0 <= layer < self.config.layers:
                problems.append(f"layer {layer} is outside 0..{self.config.layers - 1}")
            tail = (tokens.num_ctx, self.config.width)
            if p.ndim != 4 or p.shape[1] not in (1, len(tokens)) or tuple(p.shape[2:]) != tail:
                problems.append(f"layer {layer}: expected {want}, got {tuple(p.shape)}")
            batches.add(p.shape[0])
        if len(batches) > 2:
            problems.append(f"layers disagree on the number of images: {sorted(batches)}")
        if problems:
            raise PromptShapeError("text prompts: " + "; ".join(problems))
        return max(batches)
