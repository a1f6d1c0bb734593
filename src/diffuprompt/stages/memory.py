"""How many images fit into the memory budget at once, estimated before anything is computed."""

from __future__ import annotations

from torch import Tensor

from diffuprompt.clip import PromptedTokens
from diffuprompt.learners import Classes, Learner

MOST = 256  # larger batches make no processor faster


def fitting_batch(learner: Learner, classes: Classes, lists_CM: Tensor | None = None) -> int:
    """Return the largest batch, 1 to 256, whose gradients fit ``learner.plan.memory_mib``.

    One image keeps the activations of its own text tokens (the shared prefix and all suffixes)
    where text prompts are generated, and of its patches where prompts enter the image tower, or
    what is learned there is trained along; see `Blocks.kept_bytes`. The text path, unlike the image
    tower, also bears less: it then computes twice what it cannot keep.
    """
    budget = learner.plan.memory_mib * 2**20
    return max(1, min(MOST, budget // image_bytes(learner, classes, lists_CM)))


def image_bytes(learner: Learner, classes: Classes, lists_CM: Tensor | None = None) -> int:
    """Return the bytes that one image keeps for a backward pass to its prompts."""
    text, vision = learner.clip.text, learner.clip.vision
    total = 0
    if any(slot.tower == "text" for slot in learner.spec.slots):
        part = classes if lists_CM is None else classes.select(lists_CM[0].tolist())
        total += text.blocks.kept_bytes() * num_tokens(learner.tokens(part))
    trained = learner.needs.grid and learner.num_trainable() > 0
    if learner.prompts_enter_images or trained:
        longest = max((slot.length for slot in learner.spec.slots), default=0)
        total += vision.blocks.kept_bytes() * (1 + vision.config.num_patches + longest)
    return max(total, 1)


def num_tokens(tokens: PromptedTokens) -> int:
    """Return the tokens that pass the text tower for one image, on the fast path."""
    if tokens.packing is not None:
        return tokens.packing.num_tokens
    return int((tokens.eot + 1).sum())
