"""Some images of a set, which share its features, views and grids: nothing is computed twice.

Legend: B image of a batch, E embedding, G channels of a grid, P images of the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffuprompt.data import Needs
from diffuprompt.engine import Tally, sent
from diffuprompt.learners import Classes
from diffuprompt.stages.image_set import ImageSet


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagePart(ImageSet):
    """The images of ``whole`` at ``positions``.

    Cached files hold many images and are named by all of them, so that a set of its own would
    compute its features anew.
    """

    whole: ImageSet
    positions: tuple[int, ...]

    @cached_property
    def at(self) -> Tensor:
        """Positions ``(P,)`` in the whole."""
        return torch.tensor(self.positions, device=self.labels.device)

    @cached_property
    def features(self) -> Tensor:
        """Features ``(P, E)`` of the test view."""
        return self.whole.features[self.at]

    @cached_property
    def before_projection(self) -> ImageSet:
        """The same images with the image tower's states before its projection for features."""
        return part_of(self.whole.before_projection, self.positions, self.classes)

    def rows(self, index: Tensor) -> Tensor:
        """Features ``(B, E)`` of the test view at positions ``(B,)``."""
        return self.whole.rows(self.at[sent(index, self.at.device)])

    def grid(self, index: Tensor, view: int | None, *, keep: bool) -> Tensor:
        """Grids ``(B, G, H, W)`` of one view at positions ``(B,)``."""
        return self.whole.grid(self.at[sent(index, self.at.device)], view, keep=keep)

    def warm(self, needs: Needs) -> None:
        """Compute or read what does not depend on prompts, of the whole."""
        self.whole.warm(needs)

    def warm_views(self, count: int, first: int = 0) -> None:
        """Compute or read ``count`` random views of the whole from ``first`` on ahead of time."""
        self.whole.warm_views(count, first)

    def view(self, view: int, *, keep: bool = True, task: Tally | None = None) -> Tensor:
        """Features ``(P, E)`` of one random view."""
        return self.whole.view(view, keep=keep, task=task)[self.at]


def part_of(whole: ImageSet, positions: Sequence[int], classes: Classes) -> ImagePart:
    """Return some images of a set, labelled among ``classes``, the names of the whole."""
    return ImagePart(
        tuple(whole.items[p] for p in positions),
        classes,
        whole.store,
        whole.grids,
        whole=whole,
        positions=tuple(positions),
    )
