"""What prompts are made of: masks drawn by the generator, or what controls put in their place.

Legend: B expression of a batch, K kept steps; H, W of a map; C, h, w of a latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffuprompt.clip import Clip
from diffuprompt.engine import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.grounding.conditioning import condition_of, latent_grid
from diffuprompt.grounding.contract import Batch, Detector
from diffuprompt.grounding.masks.condition import Condition
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae

FINE = 2  # pixels of a cell of a map, on each side
Source = Literal["generated", "mean", "map", "truth", "shuffled", "noise"]
WITH_LATENTS = ("generated", "shuffled", "noise")


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

    def __post_init__(self) -> None:
        """Raise `ConfigError` for latents of what is made of pixels."""
        if self.latents and self.source not in WITH_LATENTS:
            raise ConfigError(
                f"maps: the method reads latents, which exist for {', '.join(WITH_LATENTS)} only, "
                f"not for {self.source}; take a form that reads masks, such as method.form=grid"
            )


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

    def __call__(self, batch: Batch, rows: Sequence[int], draw: int = 0) -> Tensor:
        """Return maps ``(B, K, H, W)`` in 0..1, half as fine as pictures, or latents.

        Args:
            batch: the expressions.
            rows: their places in the set.
            draw: number of the draw.
        """
        return self._maps(batch, self._condition(batch), rows, draw)

    def draws(self, batch: Batch, rows: Sequence[int], count: int) -> Iterator[Tensor]:
        """Yield the maps of several draws; pictures and captions are read once for all of them."""
        condition = self._condition(batch)
        for draw in range(count):
            yield self._maps(batch, condition, rows, draw)

    @torch.no_grad()
    def _maps(
        self, batch: Batch, condition: Condition | None, rows: Sequence[int], draw: int
    ) -> Tensor:
        config, side = self.config, batch.pixels.shape[-1]
        if config.source == "truth":
            assert batch.masks is not None, "sets without masks are refused before"
            return self._small(batch.masks[:, None])
        if config.source == "map":
            assert self.generator is not None
            assert condition is not None
            return self._small(self.generator.map(condition))
        if config.source != "mean":
            latents = self._latents(condition, side, rows, draw)
            return latents if config.latents else self._small(self.decoded(latents))
        numbers = range(draw * config.samples, (draw + 1) * config.samples)
        drawn = [self.decoded(self._latents(condition, side, rows, one)) for one in numbers]
        return self._small(torch.stack([one.clamp(0, 1) for one in drawn]).mean(0))

    def decoded(self, latents_BKChw: Tensor) -> Tensor:
        """Return masks ``(B, K, H, W)`` of normalised latents, not clamped."""
        assert self.vae is not None
        return decoded(self.vae, latents_BKChw)

    def _latents(
        self, condition: Condition | None, side: int, rows: Sequence[int], draw: int
    ) -> Tensor:
        """Return the kept latents ``(B, K, C, h, w)`` of one draw, the cleanest first."""
        grid = latent_grid(side)
        streams = [torch_stream(self.seed, "maps", self.scope, row, draw) for row in rows]
        if self.config.source == "noise":
            assert self.vae is not None
            shape = (self.config.kept, len(self.vae.shift), *grid)
            return torch.stack([torch.randn(shape, generator=stream) for stream in streams])
        assert isinstance(self.generator, MaskGenerator)
        assert condition is not None
        return self.generator.sample(condition, streams, grid=grid).latents

    def _condition(self, batch: Batch) -> Condition | None:
        """Return what the generator is told; None where nothing is generated."""
        if self.config.source in ("truth", "noise"):
            return None
        kind = "tokens"
        if isinstance(self.generator, MaskGenerator):
            kind = self.generator.config.condition
        return condition_of(self.detector, self.clip, batch, kind)

    def _small(self, maps_BKHW: Tensor) -> Tensor:
        """Return one map for each kept step; what is only one map stands for all."""
        small = stored(maps_BKHW)
        return small.expand(-1, self.config.kept, -1, -1) if small.shape[1] == 1 else small


def decoded(vae: MaskVae, latents_BKChw: Tensor) -> Tensor:
    """Return masks ``(B, K, H, W)`` of normalised latents, not clamped."""
    flat = vae.restored(latents_BKChw.flatten(0, 1).to(vae.shift.device))
    return vae.decode(flat)[:, 0].unflatten(0, latents_BKChw.shape[:2])


def stored(masks_BKHW: Tensor) -> Tensor:
    """Return masks as maps are kept: in 0..1, half as fine as pictures."""
    return functional.avg_pool2d(masks_BKHW.clamp(0, 1), FINE)
