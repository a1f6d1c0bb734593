"""How learners, variants and measures are called in tables, and in what order they stand.

A measure is a column of a main table: the accuracy on one part of the classes ("base", "new",
"all"), that on images of both halves among the names of both ("open"), or the harmonic mean "h" of
base and new.
"""

from __future__ import annotations

from diffuprompt.generators import KINDS
from diffuprompt.learners import METHODS
from diffuprompt.record import OPEN, ZERO_SHOT_NEW, Variant

OWN = Variant.own()
ORACLE = "oracle"  # the control that reads the label: an upper bound, no rival

CONTROLS = {  # V* are the overfitted prompts, pi is the image feature that conditions
    "regression": "regression E[V*|pi]",
    "shuffled": "shuffled pi",
    "noise": "noise pi",
    "nearest": "nearest neighbour V*",
    "mean": "mean V*",
    ORACLE: "oracle V* (uses the label)",
    ZERO_SHOT_NEW: "zero-shot for new names",
}

METRICS = {"base": "Base", "new": "New", "h": "H", "all": "All", OPEN: "Open"}


def learner_name(learner: str) -> str:
    """Return the title of a learner; an unknown one stays as it is."""
    return METHODS[learner].title if learner in METHODS else learner


def needs_images(learner: str) -> bool:
    """Whether shots and seeds change a learner; of an unknown one it is assumed."""
    return METHODS[learner].needs_images if learner in METHODS else True


def generator_name(generator: str) -> str:
    """Return the title of a generator; an unknown one stays as it is."""
    return KINDS[generator].title if generator in KINDS else generator


def metric_name(measure: str) -> str:
    """Return the heading of a measure's column; an unknown one stays as it is."""
    return METRICS.get(measure, measure)


def main_variant(generator: str) -> Variant:
    """Return the variant that a job with this generator ("none" without one) is about."""
    return OWN if generator == "none" else Variant.generated(generator)


def is_control(variant: Variant) -> bool:
    """Whether a variant is a control or the oracle, not a method of its own."""
    return variant.prompts == "control"


def is_attempt(variant: Variant) -> bool:
    """Whether it is a control that has no name here: a way of sampling that was tried once."""
    return is_control(variant) and variant.control not in CONTROLS


def is_oracle(variant: Variant) -> bool:
    """Whether a variant reads the labels of the test images."""
    return variant.control == ORACLE


def is_trivial(variant: Variant) -> bool:
    """Whether it is the control of the open world: the method for base names, CLIP for new ones."""
    return variant.control == ZERO_SHOT_NEW


def row_name(learner: str, generator: str, variant: Variant) -> str:
    """Return what a table's first column says, e.g. ``CoCoOp + NAME`` of a generator."""
    if variant == OWN:
        return learner_name(learner)
    if is_control(variant):
        return f"— {CONTROLS.get(variant.control, variant.control)}"
    suffix = "" if generator == variant.generator else f" ({generator_name(generator)})"
    made = f"{learner_name(learner)} + {generator_name(variant.generator)}{suffix}"
    return made + (f", {variant.sampling}" if variant.sampling else "")


def row_order(learner: str, generator: str, variant: Variant) -> tuple[int | str, ...]:
    """Sort key: learners as their list has them; own prompts, generated ones, controls, oracle."""
    learners, controls = list(METHODS), list(CONTROLS)
    first = learners.index(learner) if learner in learners else len(learners)
    if variant == OWN:
        return (first, learner, "", 0, "", 0, 0)
    made = variant.control or variant.generator
    if not variant.generator:  # a control of the learner itself stands below it
        return (first, learner, "", 1, made, 0, 0)
    if not is_control(variant):
        return (first, learner, generator, 1, made, variant.nfe or 0, variant.draws)
    rank = controls.index(made) if made in controls else len(controls)
    return (first, learner, generator, 2 + rank, made, 0, 0)
