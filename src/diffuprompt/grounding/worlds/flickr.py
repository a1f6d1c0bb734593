"""Flickr30k Entities (Plummer et al., 2015): phrases of sentences, and boxes of what they mean.

``Sentences/*.txt`` has a sentence a line, ``[/EN#7/people Two boys] with [/EN#8/other a ball]``,
``Annotations/*.xml`` the boxes of entities, ``train.txt`` and so on the pictures of a split.

Every phrase with a box is an expression: its caption is the whole sentence, its root phrase the
phrase, its kind the phrase's type. **An entity of several boxes gets one box around all of them**,
the MERGED-BOXES protocol; under the protocol "any box", where each of them counts as found,
figures are higher. Boxes count pixels from 1 on, both ends included, and become ``(x0 - 1, y0 - 1,
x1, y1)``.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from diffuprompt.errors import DataError
from diffuprompt.grounding.expressions import Span
from diffuprompt.grounding.worlds.checking import Box, Collector
from diffuprompt.grounding.worlds.splits import check_split
from diffuprompt.reading import read_text

log = logging.getLogger(__name__)

SENTENCES, ANNOTATIONS = "Sentences", "Annotations"
MOST_XML = 2**20  # characters
_PHRASE = re.compile(r"\[/EN#(\d{1,18})/([^\s\[\]]+) ([^\[\]]+)\]")


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A phrase of a sentence.

    Attributes:
        entity: what it means; "0" is nothing that can be seen.
        type: "people", "animals", ...; of several, the first.
        span: its first and last (exclusive) character in the sentence.
    """

    entity: str
    type: str
    span: Span


def parse_sentence(line: str) -> tuple[str, list[Phrase]]:
    """Return a sentence without its marks, and its phrases.

    Raises:
        DataError: a mark is malformed.
    """
    text, place, phrases = "", 0, []
    for found in _PHRASE.finditer(line):
        text += line[place : found.start()]
        span = (len(text), len(text) + len(found[3]))
        phrases.append(Phrase(entity=found[1], type=found[2].split("/")[0], span=span))
        text, place = text + found[3], found.end()
    text += line[place:]
    if "[/EN#" in text:
        raise DataError("a malformed mark; expected [/EN#<id>/<type> <phrase>]")
    return text, phrases


def read_flickr(root: Path, split: str, collector: Collector) -> None:
    """Give a collector the expressions of a split.

    Entities without a box (id 0, scenes, and what is not seen) are no expressions.

    Args:
        root: folder of the layout above.
        split: "train", "val" or "test".
        collector: gathers expressions and problems.

    Raises:
        DataError: a file is missing or damaged, or there is no such split.
    """
    lists = [name for name in ("train", "val", "test") if (root / f"{name}.txt").is_file()]
    check_split(split, lists, root)
    known: set[str] = set()
    merged = 0
    for name in read_text(root / f"{split}.txt", error=DataError).split():
        key = collector.problems.identify(f"picture of {split}.txt", name, known)
        if key is not None and Path(key).name != key:
            collector.problems.add(f"picture {key}", "its name is a path")
        elif key is not None:
            merged += _read_picture(root, key, collector)
    log.info("%d entities have several boxes, merged into one (MERGED-BOXES)", merged)


def _read_picture(root: Path, key: str, collector: Collector) -> int:
    """Add the expressions about one picture; return how many entities have several boxes."""
    try:
        boxes = _entity_boxes(root / ANNOTATIONS / f"{key}.xml")
        lines = read_text(root / SENTENCES / f"{key}.txt", error=DataError).splitlines()
    except DataError as cause:
        collector.problems.add(f"picture {key}", str(cause))
        return 0
    for i, line in enumerate(lines):
        where = f"picture {key}, sentence {i}"
        try:
            text, phrases = parse_sentence(line)
        except DataError as cause:
            collector.problems.add(where, str(cause))
            continue
        for k, phrase in enumerate(phrases):
            if phrase.entity in boxes:
                entity = f"{where}, entity {phrase.entity}"
                picture = collector.pictures.find(where, f"{key}.jpg")
                target = collector.target(entity, picture, _around(boxes[phrase.entity]))
                name = f"{key}/{i}/{k}"
                collector.add(entity, name, target, text, root=phrase.span, kind=phrase.type)
    return sum(len(several) > 1 for several in boxes.values())


def _entity_boxes(path: Path) -> dict[str, list[Box]]:
    """Return the boxes of each entity.

    Raises:
        DataError: the file is missing or damaged.
    """
    text = read_text(path, error=DataError)
    if len(text) > MOST_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path}: no annotation of Entities: too long, or with declarations")
    try:
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as cause:
        raise DataError(f"{path}: not valid XML: {cause}") from cause
    found: dict[str, list[Box]] = {}
    for item in tree.iter("object"):
        names = [name.text or "" for name in item.iter("name")]
        for box in item.iter("bndbox"):
            corners = [box.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")]
            where = f"{path}: entity {', '.join(names)[:80]}: box {corners}"
            try:
                x0, y0, x1, y1 = (int(corner or "") for corner in corners)
            except ValueError as cause:
                raise DataError(f"{where}; expected whole numbers") from cause
            if x1 < x0 or y1 < y0:  # among several it would not be seen
                raise DataError(f"{where} is empty")
            for name in names:
                found.setdefault(name, []).append((x0 - 1, y0 - 1, x1, y1))
    return found


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))
