"""The generator as a classifier: how likely are the prompts that a name would have asked for?

For the most probable names y of an image, V*_y is found as if y were its label (no true label is
used), and y is judged by how unlikely V*_y is given the image, which a distribution over prompts
says and a regression does not.

Legend: B image of a batch, C class, F flat, K candidate, R row: an image with one candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from diffuprompt.generators import OverfitConfig, Problem, PromptGenerator, descend
from diffuprompt.learners import Learner
from diffuprompt.record import Judging
from diffuprompt.stages.flat_prompts import learner_logits
from diffuprompt.stages.image_set import ImageSet
from diffuprompt.stages.score import Ask

Unlikely = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(flat (R, F), features (R, E), V0 (R, F)) -> (R,)``: large for prompts that are unlikely."""
ROWS = 64  # images times candidates that are overfitted at once


class Judge:
    """Puts how unlikely each candidate's prompts are beside the logits of a batch."""

    def __init__(
        self,
        learner: Learner,
        images: ImageSet,
        unlikely: Unlikely,
        how: Judging,
        config: OverfitConfig,
        lr: float,
    ) -> None:
        """Keep what candidates are judged with.

        Args:
            learner: frozen; its text path sees all classes of ``images``.
            images: the test set; its labels are not read.
            unlikely: what judges prompts.
            how: candidates, margin and weight.
            config: how V* of the training images was found; ``how.steps`` replaces its steps.
            lr: the step size that was used there.
        """
        self._logits, self._unlikely, self._how = learner_logits(learner, images), unlikely, how
        self._config = _with_steps(config, how.steps)
        self._lr = lr

    def __call__(self, ask: Ask, logits_BC: Tensor) -> Tensor:
        """Return ``(B, C)``: logits minus ``weight`` times how unlikely each name's prompts are.

        A name that is no candidate counts as unlikely as the worst candidate of its image, so the
        order of candidates among the others can only fall. Images whose two best names are further
        apart than ``margin`` keep their logits.
        """
        how = self._how
        top, names_BK = logits_BC.topk(min(how.candidates, logits_BC.shape[1]), dim=1)
        doubtful = torch.ones(len(top), dtype=torch.bool, device=top.device)
        if how.margin and top.shape[1] > 1:
            doubtful = top[:, 0] - top[:, 1] <= how.margin
        rows = doubtful.nonzero()[:, 0]
        out = logits_BC.clone()
        if len(rows):
            some = Ask(ask.index[rows.to(ask.index.device)], ask.features[rows], ask.initial[rows])
            found_BK = self.unlikely(some, names_BK[rows]).to(out.dtype)
            cost_BC = found_BK.max(1, keepdim=True).values.expand(-1, out.shape[1])
            cost_BC = cost_BC.scatter(1, names_BK[rows], found_BK)
            out[rows] = out[rows] - how.weight * cost_BC
        return out

    def unlikely(self, ask: Ask, names_BK: Tensor) -> Tensor:
        """Return ``(B, K)``: how unlikely V*_y is, for every candidate y of every image."""
        count = names_BK.shape[1]
        features_RE = ask.features.repeat_interleave(count, 0)
        initial_RF = ask.initial.repeat_interleave(count, 0)
        flat_RF = self.prompts(ask.index.repeat_interleave(count), initial_RF, names_BK.flatten())
        with torch.no_grad():
            parts = zip(*(t.split(ROWS) for t in (flat_RF, features_RE, initial_RF)), strict=True)
            return torch.cat([self._unlikely(*part) for part in parts]).unflatten(0, (-1, count))

    def prompts(self, index_R: Tensor, initial_RF: Tensor, names_R: Tensor) -> Tensor:
        """Return V*_y ``(R, F)`` of images under names; one row does not see the others."""
        index_R = index_R.to(names_R.device)  # pictures are counted on the CPU
        places: list[tuple[Tensor, Tensor]] = []  # the batch at hand, and where it is

        def logits(flat_RF: Tensor, at_R: Tensor, classes_M: Tensor | None = None, /) -> Tensor:
            if not places or places[0][0] is not at_R:
                places[:] = [(at_R, index_R[at_R])]
            return self._logits(flat_RF, places[0][1], classes_M)

        problem = Problem(logits=logits, initial=initial_RF, labels=names_R)
        every = torch.arange(len(names_R), device=names_R.device)
        with torch.enable_grad():
            parts = [
                descend(problem, part, self._config, self._lr)["prompts"]
                for part in problem.batches(every, ROWS)
            ]
        return torch.cat(parts)


def density(generator: PromptGenerator, how: Judging) -> Unlikely:
    """Return what judges by the generator's own density, at the noise levels of ``how``."""
    return lambda flat, features, initial: generator.surprise(
        flat, features, initial, sigmas=how.sigmas
    )


def distance(generator: PromptGenerator) -> Unlikely:
    """Return the control: the mean squared distance to the regression, in units of the targets."""

    def unlikely(flat_RF: Tensor, features_RE: Tensor, initial_RF: Tensor) -> Tensor:
        encode = generator.normaliser.encode
        mean_RF = generator.regression(features_RE, initial_RF)
        return (encode(flat_RF, initial_RF) - encode(mean_RF, initial_RF)).square().mean(1)

    return unlikely


def _with_steps(config: OverfitConfig, steps: int) -> OverfitConfig:
    """Return the settings of overfitting with ``steps`` steps among all classes; 0: as they are.

    Lists of negatives follow labels, which there are none of here.
    """
    return replace(config, steps=steps or config.steps, negatives=0)
