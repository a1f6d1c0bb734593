"""The tables and sentences of the study under shift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from diffuprompt.record import Variant
from diffuprompt.report import (
    OWN,
    Cell,
    Interval,
    Number,
    SectionPart,
    Table,
    difference,
    generator_name,
    learner_name,
    number,
    plain,
)
from diffuprompt.studies.plug_in.design import DECIDING
from diffuprompt.studies.shift.gains import (
    CONTROLS,
    GENERATED,
    RESAMPLES,
    Robustness,
    ShiftGains,
    Tries,
    common_seeds,
)

COMPARED = (
    ", on the seeds that both have; paired differences on the targets as above. The regression is "
    "that of diffusion as it is."
)
NAMES = {
    OWN: "that with the learners' own prompts",
    **{variant: f"that with the {variant.control} control" for variant in CONTROLS},
}


def shift_parts(gains: ShiftGains) -> tuple[SectionPart, ...]:
    """Return tables: of learners, of what each target says, of attempts and other generators."""
    parts = [
        SectionPart(heading="Diffusion under shift", table=shift_table(gains)),
        SectionPart(heading="Gain of diffusion on each target", table=target_table(gains)),
    ]
    if gains.attempts:
        heading = "Attempts to make diffusion robust"
        caption = "Diffusion as it is, and as an attempt changes it" + COMPARED
        table = _beside_diffusion(gains, gains.attempts, "attempt", caption)
        parts.append(SectionPart(heading=heading, table=table))
    if gains.generators:
        caption = "Diffusion, and another generator of the same learner" + COMPARED
        table = _beside_diffusion(gains, gains.generators, "generator", caption)
        parts.append(SectionPart(heading="Other generators under shift", table=table))
    return tuple(parts)


def shift_table(gains: ShiftGains) -> Table:
    """One row per learner: accuracy at home and away, and paired differences; the mean last."""
    source, targets = (gains.world.source,), gains.targets

    def row(one: Robustness) -> tuple[Cell, ...]:
        return (
            learner_name(one.learner) + (f" · {one.setting}" if one.setting else ""),
            *(number(one.accuracy(v, source), 2) for v in (OWN, GENERATED)),
            *(number(one.accuracy(v, targets), 2) for v in (OWN, GENERATED, *CONTROLS)),
            *(difference(gains.over(one, other)) for other in (OWN, *CONTROLS)),
            ", ".join(map(str, one.seeds)),
        )

    rows = [row(one) for one in gains.each]
    means = (difference(gains.mean_over(other)) for other in (OWN, *CONTROLS))
    gap: tuple[Cell, ...] = (None,) * 6
    rows.append(("Mean", *gap, *means, ", ".join(map(str, gains.seeds)) or None))
    rows += [row(one) for one in gains.ablations]
    columns = (
        "Learner",
        "source, own",
        "source, + diffusion",
        "targets, own",
        "targets, + diffusion",
        *(f"targets, {control}" for control in DECIDING),
        "gain on targets",
        *(f"over {control}" for control in DECIDING),
        "Seeds",
    )
    caption = (
        f"Trained on all classes of {source[0]}; accuracy in per cent, on targets the mean over "
        f"{', '.join(targets)}. Paired differences in points with 95 % intervals of {RESAMPLES:,} "
        "bootstrap resamples of seeds and pictures; one draw of pictures serves all targets, which "
        "show the same ones, and all learners. Rows with a setting are in no mean."
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def target_table(gains: ShiftGains) -> Table:
    """One row per learner, one column per target and control set: diffusion minus own prompts."""
    tests = (*gains.targets, *_controls(gains))
    rows: list[tuple[Cell, ...]] = []
    for one in gains.each:
        cells: list[Cell] = []
        for test in tests:
            own, made = (one.accuracy(v, (test,)) for v in (OWN, GENERATED))
            if own is None or made is None:
                cells.append(None)
            else:
                cells.append(Number(value=made - own, signed=True))
        rows.append((learner_name(one.learner), *cells))
    rows.append(("Mean", *(difference(gains.mean_over(OWN, (test,))) for test in tests)))
    columns = ("Learner", *gains.targets, *(f"{test} (control)" for test in _controls(gains)))
    caption = (
        "Accuracy with diffusion minus that of the learner's own prompts, in points; the mean over "
        "learners with its 95 % interval, as above. Control sets are in no mean over targets."
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _beside_diffusion(
    gains: ShiftGains, others: Mapping[str, Tries], kind: str, caption: str
) -> Table:
    """One row per attempt or generator and learner, beside diffusion as it is; means last."""
    source, targets = (gains.world.source,), gains.targets
    regression = CONTROLS[0]
    rows: list[tuple[Cell, ...]] = []
    for setting, attempts in others.items():
        for tried, plain_one in attempts:
            both = ((tried, plain_one),)
            seeds = common_seeds(both)
            at = [
                number(one.accuracy(GENERATED, tests, seeds), 2)
                for tests in (source, targets)
                for one in (plain_one, tried)
                if seeds
            ] or [None] * 4
            over = (difference(gains.over_plain(both, v)) for v in (GENERATED, regression))
            told = ", ".join(map(str, seeds)) or None
            rows.append((setting, learner_name(tried.learner), *at, *over, told))
        if len(attempts) > 1:
            over = (difference(gains.over_plain(attempts, v)) for v in (GENERATED, regression))
            seeds = common_seeds(attempts)
            rows.append((setting, "Mean", *[None] * 4, *over, ", ".join(map(str, seeds)) or None))
    columns = (
        kind.capitalize(),
        "Learner",
        "source, diffusion",
        f"source, {kind}",
        "targets, diffusion",
        f"targets, {kind}",
        "over diffusion",
        "over its regression",
        "Seeds",
    )
    return Table(columns=columns, rows=tuple(rows), caption=caption)


def _beside(gains: ShiftGains) -> Iterator[str]:
    """Say how attempts and other generators compare with diffusion as it is on the targets."""
    for attempt, interval, who in _over_diffusion(gains, gains.attempts):
        yield (
            f"Of the attempts to make diffusion robust, {attempt} is {_word(interval)} diffusion "
            f"as it is on the targets ({who}): {plain(difference(interval))} points."
        )
    for generator, interval, who in _over_diffusion(gains, gains.generators):
        yield (
            f"On the targets {generator_name(generator)} in the place of diffusion is "
            f"{_word(interval)} it ({who}): {plain(difference(interval))} points."
        )


def _over_diffusion(
    gains: ShiftGains, others: Mapping[str, Tries]
) -> Iterator[tuple[str, Interval, str]]:
    """Yield each name with its interval over diffusion, and its learners and seeds in words."""
    for name, tries in others.items():
        interval = gains.over_plain(tries, GENERATED)
        if interval is not None:
            learners = ", ".join(learner_name(tried.learner) for tried, _ in tries)
            yield name, interval, f"{learners}; seeds {', '.join(map(str, common_seeds(tries)))}"


def _controls(gains: ShiftGains) -> tuple[str, ...]:
    """Return the control sets that every learner scored."""
    return tuple(
        test
        for test in gains.world.controls
        if all(test in one.hits[v] for one in gains.each for v in (OWN, GENERATED))
    )


def shift_verdicts(gains: ShiftGains) -> tuple[str, ...]:
    """Say where diffusion stands on the targets, against own prompts and both controls."""
    intervals = {other: gains.mean_over(other) for other in (OWN, *CONTROLS)}
    said = [_clause(other, interval) for other, interval in intervals.items() if interval]
    names = ", ".join(learner_name(name) for name in gains.above)
    count = len(gains.each)
    learners = f"{count} learners" if count > 1 else learner_name(gains.each[0].learner)
    many = f"{len(gains.targets)} targets" if len(gains.targets) > 1 else gains.targets[0]
    seeds = ", ".join(map(str, gains.seeds))
    first = (
        f"Under shift ({gains.world.source} to {many}, {learners}, seeds {seeds}), accuracy with "
        f"diffusion is {'; '.join(said)}."
    )
    second = (
        "On the targets it is above the regression and above the shuffled condition, both "
        f"intervals above zero, for {len(gains.above)} of {count}{f': {names}' if names else ''}."
    )
    return (first, second, *_sorts(gains), *_beside(gains)) if said else ()


def _sorts(gains: ShiftGains) -> tuple[str, ...]:
    """Say which sort of learner gains more, by the sort of target: the paper's second claim."""
    if gains.world.controls:  # another set of classes is neither
        return ()
    styles = [t for t in gains.targets if gains.world.is_style(t)]
    damaged = [t for t in gains.targets if t not in styles]
    multi, text = (", ".join(learner_name(one.learner) for one in sort) for sort in gains.sorts)
    out = []
    for what, targets in (("changes of style", styles), ("damaged pictures", damaged)):
        interval = gains.multi_modal_minus_textual(targets)
        if interval is not None:
            out.append(
                f"On {what} ({', '.join(targets)}), the gain of multi-modal learners ({multi}) is "
                f"{_word(interval)} that of textual ones ({text}): {plain(difference(interval))} "
                "points."
            )
    return tuple(out)


def _word(interval: Interval) -> str:
    return "above" if interval.low > 0 else "below" if interval.high < 0 else "not told apart from"


def _clause(other: Variant, interval: Interval) -> str:
    return f"{_word(interval)} {NAMES[other]} ({plain(difference(interval))} points)"
