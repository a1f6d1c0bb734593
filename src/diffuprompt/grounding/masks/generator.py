"""Stage 2: latents of masks from pictures and captions, by diffusion (arXiv 2504.21423).

Legend: B expression, C latent channels, V condition vector, D width of the network; h, w of the
latent map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.diffusion import Denoise, Schedule, denoising_loss, make_denoiser, make_schedule
from diffuprompt.engine import moved
from diffuprompt.errors import ConfigError
from diffuprompt.grounding.masks.condition import Condition, PooledCondition, TokensCondition
from diffuprompt.grounding.masks.dit import Dit
from diffuprompt.grounding.masks.encoder import FINE, MaskEncoder, Reading, full_map, map_losses
from diffuprompt.grounding.masks.initial import built
from diffuprompt.grounding.masks.learned_variance import variational_bound
from diffuprompt.grounding.masks.light_vae import LATENT
from diffuprompt.grounding.masks.settings import GeneratorConfig
from diffuprompt.grounding.masks.trajectory import Trajectory, follow, noise_levels


@dataclass(frozen=True, kw_only=True, eq=False)
class Guide:
    """What the network is told beside the state: a condition, looked at once a sample.

    Attributes:
        vectors: ``(B, V, D)``.
        maps: ``(B, M, h, w)``, or None.
        reading: the encoder's, or None.
    """

    vectors: Tensor
    maps: Tensor | None = None
    reading: Reading | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Told(Condition):
    """What the network needs of an encoder, kept for whole sets.

    Attributes:
        summary: ``(B, 2, D)`` of the encoder.
        maps: ``(B, M, h, w)``, its cells and its map.
    """

    summary: Tensor
    maps: Tensor


def told_by(reading: Reading) -> Told:
    """Return what the network is told of a reading."""
    sure = functional.pixel_unshuffle(reading.logits.sigmoid(), FINE)
    return Told(summary=reading.summary, maps=torch.cat([reading.cells, sure], 1))


class MaskGenerator(nn.Module):
    """p(latent of the mask given picture and caption), and for "tokens" the encoder's own map."""

    def __init__(
        self, config: GeneratorConfig, widths: Mapping[str, int], *, generator: torch.Generator
    ) -> None:
        """Build it with initial weights from ``generator``.

        Args:
            config: the settings.
            widths: `Condition.widths` of what it will be told.
            generator: of the initial weights, on the CPU.

        Raises:
            ConfigError: ``widths`` are of another kind of condition.
        """
        super().__init__()
        self.config, self.widths = config, dict(widths)
        self.schedule = make_schedule(config.schedule, config.steps)
        self.encoder: MaskEncoder | None = None
        self.image_in: nn.Module = nn.Identity()
        self.text_in: nn.Module = nn.Identity()
        wanted = {"maps", "levels", "words"} if config.condition == "tokens" else {"pooled"}
        if set(widths) != wanted:
            raise ConfigError(
                f"condition: {config.condition!r} needs the widths {sorted(wanted)}, got "
                f"{sorted(widths)}; make the condition of the same kind"
            )
        maps, width = 0, config.width
        if config.condition == "tokens":
            sizes = config.encoder
            self.encoder = built(lambda: MaskEncoder(sizes, widths), generator)
            maps, source = sizes.width + FINE * FINE, sizes.width
        else:
            source = widths["pooled"]
        if source != width:  # the release has none, and needs CLIP's width for it
            self.image_in = built(lambda: nn.Linear(source, width), generator)
            self.text_in = built(lambda: nn.Linear(source, width), generator)
        self.dit = built(lambda: Dit(config.network(maps)), generator)

    def guide(self, condition: Condition) -> Guide:
        """Return what the network is told.

        Raises:
            ConfigError: the condition is of the other kind.
        """
        if self.encoder is not None and isinstance(condition, TokensCondition):
            reading = self.encoder(condition)
            return replace(self.told(told_by(reading)), reading=reading)
        if self.encoder is None and isinstance(condition, PooledCondition):
            return Guide(vectors=self._vectors(condition.image, condition.text))
        raise ConfigError(
            f"condition: this generator reads {self.config.condition!r}, got "
            f"{type(condition).__name__}"
        )

    def told(self, told: Told) -> Guide:
        """Return what the network is told, from what was kept of the encoder."""
        picture, caption = told.summary.unbind(1)
        return Guide(vectors=self._vectors(picture, caption), maps=told.maps)

    def losses(
        self,
        condition: Condition,
        latents_BChw: Tensor,
        masks_B1HW: Tensor,
        stream: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms for latents (normalised) and masks in 0..1.

        "denoise" is the mean square on what is predicted, at ``draws`` noise levels for each
        expression; "bound" teaches variances where they are learned; "bce" and "dice" of the
        encoder's map weigh ``mask_weight``. ``stream`` draws levels and noise, on the host.
        """
        guide = self.guide(condition)
        terms = self.denoising(guide, latents_BChw, stream)
        total = sum(terms.values(), start=latents_BChw.new_zeros(()))
        if guide.reading is not None:
            own = map_losses(guide.reading.logits, masks_B1HW)
            terms |= own
            total = total + self.config.mask_weight * (own["bce"] + own["dice"])
        return {"loss": total, **terms}

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        generators: torch.Generator | Sequence[torch.Generator],
        *,
        grid: tuple[int, int],
        nfe: int | None = None,
        sampler: str | None = None,
    ) -> Trajectory:
        """Draw one latent per expression; keep what the settings say of its trajectory.

        Args:
            condition: of B expressions.
            generators: on the CPU, one for each expression, or one that all draw from in turn.
                With one for each, an expression's latents do not depend on the others.
            grid: rows and columns of the latent map.
            nfe: another number of points of the grid of noise levels.
            sampler: another sampler.

        Raises:
            ConfigError: a number or a name is unknown.
        """
        config, batch = self.config, len(condition)
        if isinstance(generators, torch.Generator):
            generators = [generators] * batch
        row_streams = list(generators)
        if len(row_streams) != batch:
            raise ConfigError(f"generators: expected {batch}, one a row, got {len(row_streams)}")
        noise = torch.stack([torch.randn(LATENT, *grid, generator=g) for g in row_streams])
        schedule = self.schedule
        if config.sampling_schedule != "same":
            schedule = make_schedule(config.sampling_schedule, config.steps)
        guide = self.guide(condition)
        return follow(
            self._denoise(guide, schedule, guidance=config.guidance),
            noise.to(guide.vectors),
            noise_levels(config.grid, schedule, nfe or config.nfe),
            sampler=sampler or config.sampler,
            keep=config.keep,
            kept=config.kept,
            generators=row_streams,
        )

    @torch.no_grad()
    def map(self, condition: Condition) -> Tensor:
        """Return the encoder's own map ``(B, 1, H, W)`` in 0..1: regression, no diffusion.

        Raises:
            ConfigError: a pooled condition has no encoder.
        """
        reading = self.guide(condition).reading
        if reading is None:
            raise ConfigError("condition: 'pooled' has no map of its own; take 'tokens'")
        return full_map(reading.logits)

    def _vectors(self, picture_BE: Tensor, caption_BE: Tensor) -> Tensor:
        return torch.stack([self.image_in(picture_BE), self.text_in(caption_BE)], 1)

    def _network(self, guide: Guide) -> Callable[..., Tensor]:
        """Return the network as the diffusion core asks it: ``(z, condition, u) -> raw``."""
        steps = self.config.steps

        def ask(
            z: Tensor, vectors: Tensor, u: Tensor, keep: Tensor | None = None, **_: Any
        ) -> Tensor:
            maps = guide.maps
            if keep is not None:  # a condition that is hidden is all zeros
                vectors = vectors * keep[:, None, None]
                maps = None if maps is None else maps * keep[:, None, None, None]
            raw: Tensor = self.dit(z, u * steps - 1, vectors, maps)
            return raw[:, :LATENT]

        return ask

    def _denoise(self, guide: Guide, schedule: Schedule, **told: Any) -> Denoise:
        network, prediction = self._network(guide), self.config.prediction
        return make_denoiser(network, schedule, guide.vectors, prediction=prediction, **told)

    def denoising(
        self, guide: Guide, latents_BChw: Tensor, stream: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "denoise", and "bound" where variances are learned, of normalised latents."""
        config = self.config
        if config.learn_sigma:
            return self._with_bound(guide, latents_BChw, stream)
        again = torch.arange(len(latents_BChw)).repeat(config.draws)
        maps = None if guide.maps is None else guide.maps[again]
        many = Guide(vectors=guide.vectors[again], maps=maps)
        keep = None
        if config.blind:
            drawn = torch.rand(len(again), generator=stream) >= config.blind
            keep = moved(drawn, like=latents_BChw)
        noisy = denoising_loss(
            self._denoise(many, self.schedule, keep_B=keep),
            latents_BChw[again],
            self.schedule,
            generator=stream,
            noise=config.noise,
            prediction=config.prediction,
        )
        return {"denoise": noisy.loss}

    def _with_bound(
        self, guide: Guide, latents_BChw: Tensor, stream: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the release's two terms, at the same discrete step and noise."""
        batch, steps = len(latents_BChw), self.config.steps
        t_B = torch.randint(steps, (batch,), generator=stream)
        eps = torch.randn(latents_BChw.shape, generator=stream).to(latents_BChw)
        alpha_bar_T = self.schedule.alpha_bar(torch.arange(1, steps + 1))
        share = alpha_bar_T[t_B].to(latents_BChw)[:, None, None, None]
        x_t = share.sqrt() * latents_BChw + (1 - share).sqrt() * eps
        t_B = t_B.to(latents_BChw.device)
        guess, mix = self.dit(x_t, t_B, guide.vectors, guide.maps).chunk(2, 1)
        bound = variational_bound(
            latents_BChw, x_t, guess.detach(), mix, t_B, alpha_bar_T.to(t_B.device)
        )
        return {"denoise": (guess - eps).square().mean(), "bound": bound.mean()}
