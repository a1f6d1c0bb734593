"""A mask generator without diffusion: the encoder alone, trained on masks (a control).

Reviewers of Diff-Prompt asked what masks of an independently trained model would give.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.masks.condition import Condition, TokensCondition
from diffuprompt.grounding.masks.encoder import EncoderConfig, MaskEncoder, full_map, map_losses
from diffuprompt.grounding.masks.initial import built


class IndependentMasks(nn.Module):
    """Regresses the mask; trains with `GeneratorTask` as a `MaskGenerator` does."""

    def __init__(
        self, config: EncoderConfig, widths: Mapping[str, int], *, generator: torch.Generator
    ) -> None:
        """Build it for conditions of ``widths``, initial weights from ``generator``."""
        super().__init__()
        self.config, self.widths = config, dict(widths)
        self.encoder = built(lambda: MaskEncoder(config, widths), generator)

    def losses(
        self,
        condition: Condition,
        latents_BChw: Tensor | None,
        masks_B1HW: Tensor,
        stream: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return "loss" = "bce" + "dice" of the map; latents and ``stream`` are not looked at."""
        terms = map_losses(self.encoder(_tokens(condition)).logits, masks_B1HW)
        return {"loss": terms["bce"] + terms["dice"], **terms}

    @torch.no_grad()
    def map(self, condition: Condition) -> Tensor:
        """Return masks ``(B, 1, H, W)`` in 0..1."""
        return full_map(self.encoder(_tokens(condition)).logits)


def _tokens(condition: Condition) -> TokensCondition:
    if not isinstance(condition, TokensCondition):
        raise ConfigError(
            f"condition: the encoder reads 'tokens' of a detector, got {type(condition).__name__}"
        )
    return condition
