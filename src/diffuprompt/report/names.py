"""How learners, variants and measures are called in tables, and in what order they stand."""

from __future__ import annotations

import re

STEPS = re.compile(r"overfit\.steps=(\d+)")  # the setting of a run in the sweep over iterations

OWN = "own"
ORACLE = "oracle"

LEARNERS = {
    "zero-shot": "Zero-shot CLIP",
    "coop": "CoOp",
    "cocoop": "CoCoOp",
    "prograd": "ProGrad",
    "clip-adapter": "CLIP-Adapter",
    "tip-adapter": "Tip-Adapter",
    "tip-adapter-f": "Tip-Adapter-F",
    "vpt": "VPT",
    "deep-language": "Deep language",
    "ivlp": "IVLP",
    "maple": "MaPLe",
    "promptsrc": "PromptSRC",
    "coprompt": "CoPrompt",
}

CONTROLS = {  # V* are the overfitted prompts, pi is the image feature that conditions
    "regression": "regression E[V*|pi]",
    "shuffled": "shuffled pi",
    "noise": "noise pi",
    "nearest": "nearest neighbour V*",
    "mean": "mean V*",
}

METRICS = {"base": "Base", "new": "New", "h": "H", "all": "All"}


def learner_name(learner: str) -> str:
    """Return the field's spelling of a learner; unknown ones stay as they are."""
    return LEARNERS.get(learner, learner)


def is_control(variant: str) -> bool:
    """Whether a variant is a control or the oracle, not a method of its own."""
    return variant in CONTROLS or variant == ORACLE


def is_swept(variant: str) -> bool:
    """Whether a variant is a generator sampled in another way than configured."""
    return "@" in variant


def is_swept_setting(setting: str) -> bool:
    """Whether an ablation is a point of the sweep over overfitting iterations."""
    return STEPS.fullmatch(setting) is not None


def row_name(learner: str, generator: str, variant: str) -> str:
    """Return what a table's first column says, e.g. ``CoCoOp + diffusion``."""
    if variant == OWN:
        return learner_name(learner)
    if variant == ORACLE:
        return "— oracle V* (uses the label)"
    if variant in CONTROLS:
        return f"— {CONTROLS[variant]}"
    made, _, how = variant.partition("@")
    suffix = "" if generator == made else f" ({generator})"
    return f"{learner_name(learner)} + {made}{suffix}" + (f", {how}" if how else "")


def row_order(learner: str, generator: str, variant: str) -> tuple[int, str, str, int, str]:
    """Sort key: zero-shot, then the learners; own prompts, generated ones, controls, oracle."""
    learners, controls = list(LEARNERS), [*CONTROLS, ORACLE]
    first = learners.index(learner) if learner in learners else len(learners)
    if variant == OWN:
        return (first, learner, "", 0, "")
    rank = 2 + controls.index(variant) if variant in controls else 1
    return (first, learner, generator, rank, variant)
