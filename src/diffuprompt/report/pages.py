"""A report as pages: one a protocol, one a study that has its own, and an index of one screen.

Everything of a section stands on the page of its protocol, but for what a study puts on a page of
its own (`extension.Extras.page`). What a person wrote stands with what it is about: the part of
NOTES.md under the heading "### Holdout" on the page holdout; the rest with how numbers are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diffuprompt.report.aggregate import Setting
from diffuprompt.report.files import slug
from diffuprompt.report.render import (
    MADE,
    environment,
    heading,
    part_blocks,
    section_blocks,
    sentences,
    shell_block,
)
from diffuprompt.report.tables import markdown_escape, to_markdown
from diffuprompt.report.views import Report, SectionView

METHOD, COST, COMMANDS = "how-numbers-are-made", "cost", "commands"
TITLES = {METHOD: "How the numbers are made", COST: "Cost", COMMANDS: "Commands"}
NO_ANSWERS = (*TITLES.values(), "Environment of the records")  # sections of a study's own page
MADE_INDEX = "<!-- Made by `diffuprompt report`, as are the pages: edit NOTES.md, not these. -->"
ABOUT = (
    "Made by `diffuprompt report` from {jobs} records. An answer is a sentence about numbers, its "
    "heading leads to the tables. What a method is compared with, and how, says [{title}]({link})."
)


@dataclass(kw_only=True)
class Page:
    """One page: its name is that of its file; ``answers`` are its lines in the index."""

    name: str
    blocks: list[str] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)  # what they are about -> sentences

    @property
    def title(self) -> str:
        """The name as a heading: "Base to new"."""
        return TITLES.get(self.name) or self.name.replace("-", " ").capitalize()

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n\n".join([f"# {markdown_escape(self.title)}", MADE, *self.blocks]) + "\n"

    def answer(self, about: str, lines: Sequence[str]) -> None:
        """Add sentences to what the index says of this page."""
        if lines:
            self.answers.setdefault(about, []).extend(lines)


def make_pages(report: Report, *, notes: str, figures: str) -> tuple[Page, ...]:
    """Return the pages in the order of the index; ``figures`` is their folder as pages see it."""
    pages: dict[str, Page] = {}

    def page(name: str) -> Page:
        return pages.setdefault(slug(name), Page(name=slug(name)))

    for layout in report.layouts:
        home = page(layout.protocol)
        home.blocks += part_blocks([layout.part], figures, level=2)
        home.answer(layout.about, layout.answers)
    for view in report.sections:
        _put_section(view, page(view.section.setting.protocol), figures)
        for extras in view.extras:
            if extras.page and (extras.parts or extras.verdicts):
                own, verdicts = page(extras.page), extras.verdicts or ()
                own.blocks += [heading(view), *sentences(verdicts)]
                own.blocks += part_blocks(extras.parts, figures)
                own.answer(view.section.setting.title, verdicts)
    said, rest = split_notes(notes, list(pages))
    for name, text in said.items():
        pages[name].blocks.append(f"## Commentary\n\n{text}")
    return (*pages.values(), *_service_pages(report, rest))


def _put_section(view: SectionView, page: Page, figures: str) -> None:
    """Put a section on its page, without what stands on pages of studies."""
    moved = [line for e in view.extras if e.page for line in e.verdicts or ()]
    parts = [part for extras in view.extras if not extras.page for part in extras.parts]
    parts += [part for extras in view.extras for part in extras.beside]
    kept = [line for line in view.verdicts if line not in moved]
    said = [*view.findings, *kept]
    page.blocks += section_blocks(view, figures, parts=parts, verdicts=said)
    page.answer(about(view.section.setting), said)


def about(setting: Setting) -> str:
    """Return what the lines of a section are about, beside the protocol that its page names."""
    shots = f", {setting.shots} shots" if setting.shots else ""
    return f"{setting.dataset} · {setting.backbone}{shots}"


def _service_pages(report: Report, notes: str) -> list[Page]:
    said = ["## Environment of the records", environment(report)] if report.environment else []
    commands = [shell_block(report.commands)] if report.commands else ["No record names its own."]
    return [
        Page(name=METHOD, blocks=[*sentences(report.notes), *filter(None, [notes]), *said]),
        Page(name=COST, blocks=[to_markdown(report.cost).strip()]),
        Page(name=COMMANDS, blocks=commands),
    ]


def split_notes(notes: str, pages: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return what is said of each page, and the rest; headings of the third level divide."""
    said: dict[str, str] = {}
    rest = []
    for piece in re.split(r"(?m)^(?=### )", notes):
        first, _, text = piece.partition("\n")
        name = slug(first.removeprefix("### ")) if first.startswith("### ") else ""
        if name in pages:
            said[name] = f"{said[name]}\n\n{text.strip()}" if name in said else text.strip()
        elif piece.strip():
            rest.append(piece.strip())
    return said, "\n\n".join(rest)


def render_index(
    report: Report, pages: Sequence[Page], *, folder: str, others: Mapping[str, str]
) -> str:
    """Return the index.

    Args:
        report: what the pages show.
        pages: as `make_pages` returns them.
        folder: of the pages, as the index sees it.
        others: pages that studies wrote beside their records: address -> text.
    """
    service = [page for page in pages if page.name in TITLES]
    jobs = len(report.sources)
    line = ABOUT.format(jobs=jobs, title=TITLES[METHOD], link=f"{folder}/{METHOD}.md")
    blocks = [f"# {markdown_escape(report.title)}", MADE_INDEX, line]
    for page in pages:
        if page not in service:
            lines = [
                f"- **{markdown_escape(key)}**: {markdown_escape(said)}"
                for key, said in index_lines(page.answers).items()
            ]
            blocks.append(f"## [{markdown_escape(page.title)}]({folder}/{page.name}.md)")
            blocks += ["\n".join(lines)] if lines else []
    for address, text in others.items():
        title = next((t for t in text.splitlines() if t.startswith("# ")), f"# {address}")
        blocks.append(f"## [{title.removeprefix('# ')}]({address})")
        blocks += ["\n".join(lines)] if (lines := first_lines(text)) else []
    links = " · ".join(f"[{page.title}]({folder}/{page.name}.md)" for page in service)
    return "\n\n".join([*blocks, links]) + "\n"


def index_lines(answers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what the index says of a page, one line for all numbers of shots of a data set.

    Where there are several numbers of shots, each has the first half of its first sentence.
    """
    by_shots: dict[str, dict[str, str]] = {}
    for key, said in answers.items():
        if (found := re.fullmatch(r"(.+), (\d+) shots", key)) is not None:
            by_shots.setdefault(found[1], {})[found[2]] = said[0].partition(". ")[0].rstrip(".")
    out: dict[str, str] = {}
    for key, said in answers.items():
        about = key.rpartition(", ")[0]
        shots = by_shots.get(about, {})
        if len(shots) > 1:
            out[about] = "; ".join(f"{_shots(n)}: {text}" for n, text in shots.items()) + "."
        else:
            out[key] = " ".join(said)
    return out


def _shots(number: str) -> str:
    return f"{number} shot" if number == "1" else f"{number} shots"


def first_lines(text: str) -> list[str]:
    """Return the first sentence of each section of a page that opens with a list of answers."""
    found = re.findall(r"(?m)^## (.+)\n\n- (.+)$", text)
    return [f"- **{name}**: {line}" for name, line in found if name not in NO_ANSWERS]
