"""Costs as cells beside accuracy, and the table of all costs of every job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from diffuprompt.record import Record
from diffuprompt.report.costs import SCORING, Costs, mean_costs, one_device
from diffuprompt.report.names import OWN, main_variant, row_name, row_order
from diffuprompt.report.tables import Cell, Number, Table

COSTS = ("Training s", "Images/s", "Peak MiB")
COST_CAPTION = (
    "Training: wall seconds of the learner, and of overfitting and the generator where there is "
    "one. Images/s: prompts and scoring, with prompt-free image features at hand. Peak: of the "
    "whole job, training and scoring."
)
STAGES = {"learner": "learner s", "overfit": "overfit s", SCORING: "evaluate s"}
GENERATOR = "generator s"  # whatever it is called


def cost_cells(costs: Costs) -> tuple[Cell, ...]:
    """Return the cells under `COSTS`."""
    return (
        number(costs.train_s, 1),
        number(costs.images_per_second, 1),
        number(costs.peak_mib, 0),
    )


def cost_table(records: Sequence[Record]) -> Table:
    """One row per learner and generator of a setting: parameters, seconds, speed, memory.

    The protocol is named where the records have several, since each trains on other classes.
    """
    several = len({record.job.protocol for record in records}) > 1
    grouped: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        job = record.job
        protocol = f" · {job.protocol}" if several else ""
        setting = f"{job.dataset} · {job.backbone}{protocol} · {job.shots}"
        if not job.setting:
            grouped[setting, job.learner, job.generator].append(record)
    order = sorted(grouped, key=lambda k: (k[0], row_order(k[1], k[2], OWN), k[2] != "none", k[2]))
    columns = (
        f"Data · backbone{' · protocol' if several else ''} · shots",
        "Job",
        "Trainable parameters",
        *(STAGES[stage] for stage in ("learner", "overfit")),
        GENERATOR,
        STAGES[SCORING],
        "total s",
        "generate ms",
        "classify ms",
        "images/s",
        "peak MiB",
        "timed on",
    )
    caption = (
        "Wall seconds by stage and other costs, each the mean over the seeds that ran on the "
        "device where most of them did. Milliseconds per image, in batches: making its prompts, "
        "and scoring it with them, with the prompt-free image features at hand; images/s counts "
        "both."
    )
    rows = tuple((*key[:1], *_row(key[1], key[2], grouped[key])) for key in order)
    return Table(columns=columns, rows=rows, caption=caption)


def _row(learner: str, generator: str, records: Sequence[Record]) -> tuple[Cell, ...]:
    variant = main_variant(generator)
    _, records = one_device(records)
    costs = mean_costs(records, variant)
    stages = [_stages(record) for record in records]

    def stage(name: str) -> Cell:
        values = [s[name] for s in stages if name in s]
        return number(sum(values) / len(values), 1) if values else None

    return (
        row_name(learner, generator, variant),
        number(sum(r.trainable_parameters for r in records) / len(records), 0),
        *(stage(name) for name in (STAGES["learner"], STAGES["overfit"], GENERATOR)),
        stage(STAGES[SCORING]),
        number(sum(sum(r.seconds.values()) for r in records) / len(records), 1),
        number(costs.generate_ms, 2),
        number(costs.classify_ms, 2),
        number(costs.images_per_second, 1),
        number(costs.peak_mib, 0),
        costs.timed_on,
    )


def _stages(record: Record) -> dict[str, float]:
    """Return seconds by column; a generator's stage bears the generator's name."""
    out: dict[str, float] = defaultdict(float)
    for stage, seconds in record.seconds.items():
        out[STAGES.get(stage, GENERATOR)] += seconds
    return out


def number(value: float | None, digits: int) -> Cell:
    """Return a cell, empty where nothing was measured."""
    return None if value is None else Number(value=value, digits=digits)
