"""What prompts are made of: masks drawn by the generator, or what controls put in their place.

Legend: B expression of a batch, K kept steps; H, W of a map; C, h, w of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import Clip
from diffuprompt.engine import torch_stream
from diffuprompt.grounding.conditioning import condition_of, latent_grid
from diffuprompt.grounding.contract import Batch, Detector
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae

FINE = 2  # pixels of a cell of a map, on each side
Source = Literal["generated", "mean", "map", "truth", "shuffled", "noise"]


@dataclass(frozen=True, kw_only=True)
class MapsConfig:
    """How maps are made.

    Attributes:
        source: "generated": one draw of the generator for each expression; "mean" of several;
            "map": the encoder's own, without diffusion; "truth": the true mask; "shuffled":
            generated for an expression of another picture; "noise": of latents that are noise.
        latents: whether they stay latents, instead of decoded masks.
        samples: draws of "mean".
        kept: maps of a trajectory.
    """

    source: Source = "generated"
    latents: bool = False
    samples: int = 1
    kept: int = 4


class MapMaker:
    """Makes maps of batches; a draw depends on seed, scope and row, never on its batch.

    Attributes:
        detector: reads pictures and captions.
        clip: likewise, for the pooled condition.
        vae: decodes latents; None where there are none.
        generator: None where nothing is generated.
        config: how maps are made.
        seed: of the draws.
        scope: names the set whose rows are counted.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        clip: Clip | None,
        vae: MaskVae | None,
        generator: MaskGenerator | IndependentMasks | None,
        config: MapsConfig,
        seed: int,
        scope: str,
    ) -> None:
        self.detector, self.clip, self.vae, self.generator = detector, clip, vae, generator
        self.config, self.seed, self.scope = config, seed, scope

    @torch.no_grad()
    def __call__(self, batch: Batch, rows: Sequence[int], draw: int = 0) -> Tensor:
        """Return maps ``(B, K, H, W)`` in 0..1, half as fine as pictures, or latents.

        Args:
            batch: the expressions.
            rows: their places in the set.
            draw: number of the draw.
        """
        config = self.config
        if config.latents:
            return self.latents(batch, rows, draw)
        if config.source == "truth":
            assert batch.masks is not None, "sets without masks are refused before"
            return self._small(batch.masks[:, None])
        if config.source == "map":
            return self._small(self._map(batch))
        if config.source != "mean":
            return self._small(self.decoded(self.latents(batch, rows, draw)))
        draws = range(draw * config.samples, (draw + 1) * config.samples)
        every = [self.decoded(self.latents(batch, rows, one)).clamp(0, 1) for one in draws]
        return self._small(torch.stack(every).mean(0))

    def decoded(self, latents_BKChw: Tensor) -> Tensor:
        """Return masks ``(B, K, H, W)`` of normalised latents, not clamped."""
        assert self.vae is not None
        flat = self.vae.restored(latents_BKChw.flatten(0, 1))
        return self.vae.decode(flat)[:, 0].unflatten(0, latents_BKChw.shape[:2])

    def latents(self, batch: Batch, rows: Sequence[int], draw: int = 0) -> Tensor:
        """Return the kept latents ``(B, K, C, h, w)`` of one draw, the cleanest first."""
        grid = latent_grid(batch.pixels.shape[-1])
        streams = [torch_stream(self.seed, "maps", self.scope, row, draw) for row in rows]
        if self.config.source == "noise":
            assert self.vae is not None
            shape = (self.config.kept, len(self.vae.shift), *grid)
            return torch.stack([torch.randn(shape, generator=stream) for stream in streams])
        assert isinstance(self.generator, MaskGenerator)
        kind = self.generator.config.condition
        condition = condition_of(self.detector, self.clip, batch, kind)
        found = self.generator.sample(condition, streams, grid=grid)
        return found.latents

    def _map(self, batch: Batch) -> Tensor:
        assert self.generator is not None
        kind = "tokens"
        if isinstance(self.generator, MaskGenerator):
            kind = self.generator.config.condition
        return self.generator.map(condition_of(self.detector, self.clip, batch, kind))

    def _small(self, maps_BKHW: Tensor) -> Tensor:
        """Return one map for each kept step; what is only one map stands for all."""
        small = functional.avg_pool2d(maps_BKHW.clamp(0, 1), FINE)
        return small.expand(-1, self.config.kept, -1, -1) if small.shape[1] == 1 else small
