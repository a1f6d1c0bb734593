"""The page of the grounding study: its records as Markdown, and nothing else but NOTES.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from diffuprompt.report import (
    RESAMPLES,
    GroundingSource,
    Table,
    generic_commands,
    markdown_escape,
    shell_block,
    to_markdown,
)
from diffuprompt.studies.grounding.design import METHODS, PUBLISHED, WORLDS
from diffuprompt.studies.grounding.figure import RecallFigure
from diffuprompt.studies.grounding.findings import WorldFindings, find
from diffuprompt.studies.grounding.other_settings import other_settings_table
from diffuprompt.studies.grounding.tables import (
    generalization_table,
    kinds_table,
    main_table,
    varied_table,
)
from diffuprompt.studies.grounding.trained_apart import trained_apart
from diffuprompt.studies.grounding.verdicts import find_verdicts, presets_sentences

TITLE = "Diff-Prompt on made-up worlds"
NOTES = (
    "R@K: share of expressions one of whose K best boxes has an IoU of 0.5 or more with the true "
    "one; UB: the same with all boxes. Counted again from the records, which keep the place of the "
    "first good box of every expression.",
    f"Intervals: 95 %, {RESAMPLES:,} bootstrap resamples of whole pictures with a fixed seed, so "
    "that expressions of one picture stay together. Seeds are averaged: with few of them the "
    "variation between trainings is not in the interval; the figure shows each.",
    "Differences are paired: same expressions, same detector, same seeds; what was not trained is "
    "compared with every seed.",
    "Controls show what the gain is made of: the encoder's map is what a regression knows without "
    "diffusion; masks of another expression and noise masks know nothing of the expression; the "
    "true mask is an upper bound and no method; the map's own box needs no detector.",
    f"Published (arXiv 2504.21423, largest gains over GLIP-T(A), RefCOCO testA): "
    f"+{PUBLISHED['r1']} R@1, +{PUBLISHED['r5']} R@5. No row of its tables is at hand, and these "
    "worlds are other data on another detector: compare gains, not levels.",
)


def make_page(
    sources: Sequence[GroundingSource], *, notes: str = "", resamples: int = RESAMPLES
) -> str:
    """Return the page of some records; ``notes`` is hand-written Markdown put after the worlds.

    Raises `DataError` as `findings.find` does.
    """
    return page_of(find(sources, resamples=resamples), sources, notes=notes)


def page_of(
    all_found: Sequence[WorldFindings],
    sources: Sequence[GroundingSource],
    *,
    notes: str = "",
    examples: Mapping[str, str] | None = None,
) -> str:
    """Return the page of what was found.

    Args:
        all_found: of every world.
        sources: the records behind it.
        notes: hand-written Markdown put after the worlds.
        examples: by world, the Markdown of a figure of examples.
    """
    figure = RecallFigure(found=all_found)
    parts = [
        f"# {TITLE}",
        "<!-- Made by `diffuprompt report`: edit NOTES.md beside the records, not this file. -->",
        f"![{figure.alt}](figures/{figure.name}.svg)",
        *(p for found in all_found for p in _world(found, (examples or {}).get(found.world.name))),
    ]
    if notes.strip():
        parts.append(f"## Commentary\n\n{notes.strip()}")
    environment = _environment(sources)
    if environment:
        parts.append("## Environment of the records\n\n" + "\n".join(environment))
    commands = generic_commands([s.record.command for s in sorted(sources, key=_job_order)])
    if commands:
        parts.append(
            "## Commands\n\n`diffuprompt ground study` makes all records. One of them: its line "
            "here, then `diffuprompt ground evaluate` of the folder that it names.\n\n"
            + shell_block(commands)
        )
    lines = "\n".join(f"- {markdown_escape(note)}" for note in NOTES)
    parts.append(f"## How the numbers are made\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _world(found: WorldFindings, examples: str | None) -> Iterator[str]:
    yield f"## {found.world.title}"
    if not found.rows and not found.varied:
        yield "**Not run yet: every row of this world is missing.**"
        return
    verdicts = [verdict.sentence for verdict in find_verdicts(found)]
    yield _list([*verdicts, *presets_sentences(found)])
    yield to_markdown(main_table(found)).strip()
    if found.missing:
        yield f"**Missing:** {markdown_escape('; '.join(found.missing))}."
    if apart := trained_apart(found):
        yield (
            "Generators that were trained more than once, so that a difference between rows of "
            "different trainings is one between trainings as well:\n\n" + _list(apart)
        )
    for heading, table in (
        ("By kind of expression", kinds_table(found)),
        ("Generalization", generalization_table(found)),
        ("Ablations", varied_table(found)),
        ("Other settings", other_settings_table(found)),
    ):
        if table is not None:
            yield _headed(heading, table)
    if examples is not None:
        yield f"### Examples\n\n{examples}"


def _headed(heading: str, table: Table) -> str:
    return f"### {heading}\n\n{to_markdown(table).strip()}"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_escape(sentence)}" for sentence in sentences)


def _job_order(source: GroundingSource) -> tuple[str | int, ...]:
    job, keys = source.record.job, [entry.key for entry in METHODS]
    worlds = [world.name for world in WORLDS]
    return (worlds.index(job.dataset), keys.index(job.method), job.setting, job.seed)


def _environment(sources: Sequence[GroundingSource]) -> list[str]:
    values: dict[str, set[str]] = {}
    for source in sources:
        for key, value in source.record.environment.items():
            values.setdefault(key, set()).add(value)
    return [
        f"- {markdown_escape(key)}: {markdown_escape(', '.join(sorted(values[key])))}"
        for key in sorted(values)
    ]
