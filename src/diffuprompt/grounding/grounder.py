"""Find what expressions mean in a picture, with a trained method and its masks.

Legend: N boxes, M draw, K kept steps of a trajectory; H, W of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffuprompt.clip import Clip
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.contract import Batch, Detections, Detector, Method, Span
from diffuprompt.grounding.detectors.boxes import iou
from diffuprompt.grounding.maps import MapMaker, MapsConfig
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae
from diffuprompt.grounding.methods.evaluate import detected
from diffuprompt.grounding.methods.map_box import boxes_of_map
from diffuprompt.grounding.methods.registry import FROZEN, make_method
from diffuprompt.grounding.worlds.roots import root_phrase

SAME = 0.5  # IoU from which two draws found the same


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounded:
    """What was found for one expression.

    Attributes:
        text: the expression.
        root: characters of its root phrase.
        boxes: ``(N, 4)`` of the first draw in pixels of what was given, the best first.
        scores: ``(N,)`` in 0..1.
        maps: ``(M, K, H, W)`` in 0..1, each draw's trajectory, the cleanest first; None for
            methods without masks.
        best: ``(M, 4)``, the best box of each draw; zeros where nothing was found.
    """

    text: str
    root: Span
    boxes: Tensor
    scores: Tensor
    maps: Tensor | None
    best: Tensor

    @property
    def agreement(self) -> float:
        """Share of draws whose best box is the first draw's, by an IoU of 0.5 or more."""
        return float((iou(self.best, self.best[:1])[:, 0] >= SAME).float().mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounder:
    """A frozen detector with what was trained for it.

    Attributes:
        detector: frozen.
        clip: of pooled features; None where nothing reads them.
        method: adapts the detector; None reads boxes from maps.
        vae: decodes latents; None where there are none.
        generator: makes masks; None where nothing does.
        maps: how they are made; None for methods that read none.
        seed: of the draws.
        side: pictures are resized to ``side x side``.
    """

    detector: Detector
    clip: Clip | None = None
    method: Method | None
    vae: MaskVae | None = None
    generator: MaskGenerator | IndependentMasks | None = None
    maps: MapsConfig | None = None
    seed: int = 1
    side: int

    @property
    def draws(self) -> bool:
        """Whether its masks are drawn, so that several samples differ."""
        return self.maps is not None and self.maps.source in ("generated", "mean")

    @property
    def frozen(self) -> Grounder:
        """The detector alone."""
        method = make_method(FROZEN, self.detector)
        return Grounder(detector=self.detector, method=method, side=self.side)

    def __call__(
        self,
        picture: Image.Image,
        texts: Sequence[str],
        *,
        roots: Sequence[Span] | None = None,
        samples: int = 1,
    ) -> list[Grounded]:
        """Return what each expression means in a picture.

        Args:
            picture: RGB.
            texts: expressions.
            roots: their root phrases; None finds them, see `root_phrase`.
            samples: draws of masks for each; more than one shows how sure the generator is.

        Raises:
            DataError: an empty expression, or one with a word that the detector does not know.
            ConfigError: ``samples`` of a method that draws nothing.
        """
        self._check(texts, samples)
        spans = tuple(root_phrase(text) for text in texts) if roots is None else tuple(roots)
        batch = self._batch(picture, texts, spans)
        scale = torch.tensor([picture.width, picture.height] * 2) / self.side
        return [
            replace(one, boxes=one.boxes * scale, best=one.best * scale)
            for one in self.on(batch, range(len(texts)), samples=samples)
        ]

    def on(
        self, batch: Batch, rows: Sequence[int], *, scope: str = "prediction", samples: int = 1
    ) -> list[Grounded]:
        """Return what the expressions of a batch mean; its boxes and masks are not looked at.

        Args:
            batch: pictures are ``side x side``.
            rows: places of the expressions in their set, which draws depend on.
            scope: names that set; with its content draws are those that it is scored with.
            samples: draws of masks for each expression.
        """
        every = list(self._draws(batch, rows, scope, samples))
        found = []
        for i, text in enumerate(batch.texts):
            maps = [own[i] for _, own in every if own is not None]
            first = every[0][0][i]
            found.append(
                Grounded(
                    text=text,
                    root=batch.roots[i],
                    boxes=first.boxes,
                    scores=first.scores,
                    maps=torch.stack(maps) if maps else None,
                    best=torch.stack([_best(boxes[i]) for boxes, _ in every]),
                )
            )
        return found

    @torch.inference_mode()
    def _draws(
        self, batch: Batch, rows: Sequence[int], scope: str, count: int
    ) -> Iterator[tuple[list[Detections], Tensor | None]]:
        """Yield of each draw the boxes, and the maps ``(B, K, H, W)`` that they come from."""
        if self.maps is None:
            assert self.method is not None
            for _ in range(count):
                yield detected(self.detector, self.method, batch), None
            return
        maker = MapMaker(
            detector=self.detector,
            clip=self.clip,
            vae=self.vae,
            generator=self.generator,
            config=self.maps,
            seed=self.seed,
            scope=scope,
        )
        for maps in maker.draws(batch, rows, count):
            shown = maker.decoded(maps).clamp(0, 1) if self.maps.latents else maps
            if self.method is None:
                yield [boxes_of_map(one[0], self.side) for one in maps], shown
            else:
                yield detected(self.detector, self.method, batch, maps), shown

    def _batch(self, picture: Image.Image, texts: Sequence[str], spans: tuple[Span, ...]) -> Batch:
        side = self.side
        resized = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).float() / 255
        return Batch(
            pixels=pixels.expand(len(texts), -1, -1, -1),
            texts=tuple(texts),
            roots=spans,
            boxes=torch.zeros(len(texts), 4),
            masks=None,
        )

    def _check(self, texts: Sequence[str], samples: int) -> None:
        if not texts or not all(text.strip() for text in texts):
            raise DataError("expressions: expected at least one, and words in each")
        unknown = [
            f"{text!r}: {self.detector.name} does not know {', '.join(words)}"
            for text in texts
            if (words := self.detector.unknown(text))
        ]
        if unknown:
            raise DataError(
                "\n  ".join([*unknown, "use other words, or a detector that reads any word"])
            )
        if samples < 1 or (samples > 1 and not self.draws):
            raise ConfigError(
                f"samples: got {samples}; expected 1, as this method draws nothing, or 1 and more "
                "of one with a mask generator"
            )


def _best(found: Detections) -> Tensor:
    return found.boxes[0] if len(found.boxes) else torch.zeros(4)
