"""What `diffuprompt train` says of pictures that it did not train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffuprompt.record import Record

FEW = 30  # pictures: below, the interval is too wide to choose by


def held_out(record: Record) -> str:
    """Return one line for each way of making prompts: accuracy, and Wilson's 95 % interval."""
    from diffuprompt.report import generator_name, learner_name, wilson

    lines, fewest = [], FEW
    for score in record.scores:
        variant = score.variant
        if variant.prompts == "control" or score.dataset != record.job.dataset:
            continue
        made = f" + {generator_name(variant.generator)}" if variant.generator else ""
        low, high = wilson(sum(score.hit_list()), score.total)
        fewest = min(fewest, score.total)
        lines.append(
            f"{learner_name(record.job.learner)}{made}: {score.accuracy:.1f} % right of "
            f"{score.total} held-out pictures (95 % interval {low:.1f} to {high:.1f})"
        )
    if fewest < FEW:
        lines.append("these are few pictures: more of them narrow the interval")
    return "\n".join(lines)
