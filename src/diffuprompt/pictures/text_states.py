"""What a text-to-image model reads of a prompt: the text tower's states at all positions.

Stable Diffusion 1.x is conditioned on the last hidden states of CLIP's ViT-L/14 text tower behind
the final norm, all 77 of them, without pooling or projection. Its tokenizer fills up with
end-of-text, CLIP's own with zeros: no logit can tell, since nothing reads behind the end, but a
picture can.

Legend: N text, C class, S sequence, D width of our tower, T width that the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffuprompt.clip import Clip, PromptedTokens, sentence_tokens
from diffuprompt.errors import ConfigError
from diffuprompt.learners import Classes, Learner
from diffuprompt.prompts import Prompts, TowerPrompts

SAME = 1e-2  # relative difference of states up to which two towers are one: half precision
RIDGE = 1e-3  # of the mean square of a coordinate
HELD_OUT = 4  # one text in so many tells how good a fitted map is


def check_drawable(learner: Learner) -> None:
    """Raise `ConfigError` where a learner's prompts are the image tower's alone."""
    towers = {slot.tower for slot in learner.spec.slots}
    if towers == {"vision"}:
        raise ConfigError(
            f"{learner.name}: its prompts enter the image tower alone, and a text-to-image model "
            "reads text; draw a learner with text prompts, or leave --pictures out"
        )


def prompt_states(
    learner: Learner, classes: Classes, labels: Sequence[int], prompts: Prompts
) -> Tensor:
    """Return the states ``(N, S, D)`` of N classes under one image's prompts, deep ones included.

    A learner that has learned no prompts gives those of its sentences.
    """
    index = torch.tensor(labels)
    towers = learner.render(prompts)
    tokens = filled(learner.clip, learner.tokens(classes).select(index))
    here = index.to(learner.clip.device)
    text = {k: p if p.shape[1] == 1 else p[:, here] for k, p in towers.text.items()}
    return learner.text_states(tokens, TowerPrompts(text))[0]


def template_states(learner: Learner, classes: Classes, labels: Sequence[int]) -> Tensor:
    """Return what the frozen tower says ``(N, S, D)`` of a promptless learner's sentences."""
    tokens = learner.tokens(classes).select(torch.tensor(labels))
    return learner.clip.text.states(filled(learner.clip, tokens))[0]


def sentence_states(clip: Clip, texts: Sequence[str]) -> Tensor:
    """Return the states ``(N, S, D)`` of plain sentences."""
    length = clip.config.text.context_length
    tokens = sentence_tokens(clip.tokenizer, texts, length).to(clip.device)
    return clip.text.states(filled(clip, tokens))[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class StateMap:
    """An affine map from our tower's states to those that a model was trained with.

    Attributes:
        weight: ``(D + 1, T)``, the last row is added.
        error: of held-out texts, the root mean square error over the root mean square.
    """

    weight: Tensor
    error: float

    def __call__(self, states_NSD: Tensor) -> Tensor:
        """``(N, S, D)`` to ``(N, S, T)``."""
        return _with_one(states_NSD) @ self.weight.to(states_NSD)


def fit_map(ours_NSD: Tensor, theirs_NST: Tensor) -> StateMap:
    """Fit a ridge regression from one tower's states to another's, position by position.

    Positions that only one of them has are left out. The map serves texts that no word spells, so
    what is drawn through it is approximate; ``error`` says how far off it is for plain texts.
    """
    length = min(ours_NSD.shape[1], theirs_NST.shape[1])
    held = torch.arange(len(ours_NSD)) % HELD_OUT == HELD_OUT - 1
    x, y = _with_one(ours_NSD[:, :length].double().cpu()), theirs_NST[:, :length].double().cpu()
    fit_x, fit_y = x[~held].flatten(0, 1), y[~held].flatten(0, 1)
    gram = fit_x.T @ fit_x
    gram += RIDGE * gram.diagonal().mean() / len(fit_x) * torch.eye(len(gram), dtype=gram.dtype)
    weight = torch.linalg.solve(gram, fit_x.T @ fit_y)
    off, of = (x[held] @ weight - y[held]), y[held]
    return StateMap(weight=weight, error=float(off.norm() / of.norm()))


def same_states(ours_NSD: Tensor, theirs_NST: Tensor, within: float = SAME) -> bool:
    """Whether two towers say the same of the same texts, by default to half precision."""
    if ours_NSD.shape != theirs_NST.shape:
        return False
    theirs = theirs_NST.to(ours_NSD)
    return float((ours_NSD - theirs).norm() / theirs.norm()) < within


def filled(clip: Clip, tokens: PromptedTokens) -> PromptedTokens:
    """Return tokens with end-of-text in all places behind it."""
    here = tokens.host or tokens
    behind = torch.arange(here.ids.shape[1]) > here.eot[:, None]
    ids = here.ids.masked_fill(behind, clip.tokenizer.eot)
    return PromptedTokens(ids=ids, eot=here.eot, slots=here.slots).to(clip.device)


def _with_one(states: Tensor) -> Tensor:
    return torch.cat([states, torch.ones_like(states[..., :1])], dim=-1)
