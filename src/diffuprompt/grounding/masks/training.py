"""How stages 1 and 2 are trained: tasks of the engine's loop.

Legend: N expression of the set, B of a batch, C latent channels, H rows, W columns of pixels; h, w
of the latent map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diffuprompt.diffusion import Ema
from diffuprompt.engine import sent, torch_stream
from diffuprompt.errors import DataError
from diffuprompt.grounding.masks.condition import Condition
from diffuprompt.grounding.masks.generator import MaskGenerator, Told
from diffuprompt.grounding.masks.mask_vae import MaskVae

CHUNK = 256  # masks that are encoded at once


class Batches:
    """Which rows a step sees: passes over all of them in new orders, whole batches only."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        """Draw from ``count`` rows.

        Raises:
            DataError: there are none.
        """
        if count < 1:
            raise DataError("masks: there is nothing to train on")
        self.count, self.batch, self.seed = count, min(batch, count), seed
        self._order: tuple[tuple[int, int], Tensor] | None = None

    def rows(self, epoch: int, step: int) -> Tensor:
        """Return the rows ``(B,)`` of a step, from (seed, epoch, step) alone."""
        passed, place = divmod(step, self.count // self.batch)
        if self._order is None or self._order[0] != (epoch, passed):
            stream = torch_stream(self.seed, "order", epoch, passed)
            self._order = ((epoch, passed), torch.randperm(self.count, generator=stream))
        return self._order[1][place * self.batch : (place + 1) * self.batch]


class VaeTask:
    """Trains a `MaskVae`; afterwards `mean_latents` measures their scale."""

    def __init__(self, vae: MaskVae, masks_NHW: Tensor, *, batch: int, seed: int) -> None:
        """Take masks on the host: uint8 in 0..255, bool, or numbers in 0..1.

        Raises:
            DataError: bytes are 0 and 1 only, or there are no masks.
        """
        _check_bytes(masks_NHW)
        self.vae, self.masks, self.seed = vae, masks_NHW, seed
        self.batches = Batches(len(masks_NHW), batch, seed)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the autoencoder's."""
        return self.vae.parameters()

    def state(self) -> dict[str, Any]:
        """Return its weights."""
        return {"weights": self.vae.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.vae.load_state_dict(state["weights"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        masks = _masks(self.masks, self.batches.rows(epoch, step), self.vae.shift.device)
        return self.vae.losses(masks, torch_stream(self.seed, "posterior", epoch, step))

    def after_step(self, epoch: int, step: int) -> None:
        """Nothing follows."""

    def after_epoch(self, epoch: int) -> None:
        """Nothing follows."""


@torch.no_grad()
def mean_latents(vae: MaskVae, masks_NHW: Tensor, *, measure: bool = False) -> Tensor:
    """Return the normalised means ``(N, C, h, w)`` of masks, on the host.

    Args:
        vae: trained.
        masks_NHW: as for `VaeTask`.
        measure: whether the scale is measured on these masks first: once, on the training set.
    """
    parts = torch.arange(len(masks_NHW)).split(CHUNK)
    device = vae.shift.device
    means = [vae.encode(_masks(masks_NHW, rows, device))[0].cpu() for rows in parts]
    found = torch.cat(means)
    if measure:
        vae.measure(found)
    return vae.normalised(found.to(device)).cpu()


class Trained(Protocol):
    """What `GeneratorTask` trains: `MaskGenerator` or `IndependentMasks`."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learnables."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take weights back."""

    def losses(
        self,
        condition: Condition,
        latents_BChw: Tensor,
        masks_B1HW: Tensor,
        stream: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms."""


class Averaged:
    """What tasks with averaged weights have in common.

    `averaged` are the weights to use afterwards, as those that Diff-Prompt published.
    """

    def __init__(
        self,
        generator: Trained,
        learned: Iterable[nn.Parameter],
        count: int,
        *,
        batch: int,
        seed: int,
        ema: float,
    ) -> None:
        """Train the parameters ``learned`` of ``generator`` on ``count`` rows."""
        self.generator, self.seed = generator, seed
        self.learned = list(learned)
        self.batches = Batches(count, batch, seed)
        self.ema = Ema(self.learned, ema)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return those that are trained."""
        return self.learned

    def state(self) -> dict[str, Any]:
        """Return the weights and their averages."""
        return {"generator": self.generator.state_dict(), "ema": self.ema.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.generator.load_state_dict(state["generator"])
        self.ema.load_state(state["ema"])

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        raise NotImplementedError

    def after_step(self, epoch: int, step: int) -> None:
        """Average the weights."""
        self.ema.update()

    def after_epoch(self, epoch: int) -> None:
        """Nothing follows."""

    def averaged(self) -> dict[str, Tensor]:
        """Return the state dict with averaged weights."""
        with self.ema.swapped():
            return {name: value.clone() for name, value in self.generator.state_dict().items()}


class GeneratorTask(Averaged):
    """Trains a generator on conditions, latents and masks of a whole set, kept on the host."""

    def __init__(
        self,
        generator: Trained,
        conditions: Condition,
        latents_NChw: Tensor,
        masks_NHW: Tensor,
        *,
        batch: int,
        seed: int,
        ema: float = 0.999,
    ) -> None:
        """Take the set.

        Args:
            generator: what is trained.
            conditions: of all expressions; half precision is widened batch by batch.
            latents_NChw: normalised means of their masks, see `mean_latents`.
            masks_NHW: as for `VaeTask`.
            batch: expressions of a step.
            seed: of order and noise.
            ema: decay of the averaged weights.

        Raises:
            DataError: the parts are not of the same expressions, or bytes are 0 and 1 only.
        """
        counts = (len(conditions), len(latents_NChw), len(masks_NHW))
        if len(set(counts)) > 1:
            raise DataError(
                "generator: expected one condition, latent and mask per expression, got "
                f"{counts[0]}, {counts[1]} and {counts[2]}"
            )
        _check_bytes(masks_NHW)
        super().__init__(
            generator, generator.parameters(), counts[0], batch=batch, seed=seed, ema=ema
        )
        self.conditions, self.latents, self.masks = conditions, latents_NChw, masks_NHW

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        rows = self.batches.rows(epoch, step)
        device = next(iter(self.generator.parameters())).device
        return self.generator.losses(
            self.conditions.rows(rows).to(torch.float32, device),
            sent(self.latents[rows].float(), device),
            _masks(self.masks, rows, device),
            torch_stream(self.seed, "noise", epoch, step),
        )


class NetworkTask(Averaged):
    """Trains the network of a `MaskGenerator` behind its encoder, which stays as it is."""

    def __init__(
        self,
        generator: MaskGenerator,
        told: Told,
        latents_NChw: Tensor,
        *,
        batch: int,
        seed: int,
        ema: float = 0.999,
    ) -> None:
        """Take what the encoder says of a whole set; the other arguments are `GeneratorTask`'s.

        Raises:
            DataError: the parts are not of the same expressions.
        """
        if len(told) != len(latents_NChw):
            raise DataError(
                "generator: expected one latent for each expression that was read, got "
                f"{len(latents_NChw)} and {len(told)}"
            )
        learned = [p for name, p in generator.named_parameters() if not _is_read(name)]
        super().__init__(generator, learned, len(told), batch=batch, seed=seed, ema=ema)
        self.network, self.told, self.latents = generator, told, latents_NChw

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        rows, device = self.batches.rows(epoch, step), self.learned[0].device
        told = self.told.rows(rows).to(torch.float32, device)
        latents = sent(self.latents[rows].float(), device)
        stream = torch_stream(self.seed, "network noise", epoch, step)
        terms = self.network.denoising(self.network.told(told), latents, stream)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def _is_read(name: str) -> bool:
    """Whether a parameter is the encoder's."""
    return name.startswith("encoder.")


def _masks(masks_NHW: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Return masks ``(B, 1, H, W)`` in 0..1 of some rows."""
    masks = sent(masks_NHW[rows], device)[:, None]
    return masks.float() / 255 if masks.dtype == torch.uint8 else masks.float()


def _check_bytes(masks_NHW: Tensor) -> None:
    if masks_NHW.dtype == torch.uint8 and masks_NHW.numel() and int(masks_NHW.max()) == 1:
        raise DataError("masks: bytes are read as 0..255, got 0 and 1 only; pass them as bool")
