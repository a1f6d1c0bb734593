"""ImageNet's class names: ``classnames.txt``, a line for each WordNet id, in label order."""

from __future__ import annotations

import re
from pathlib import Path

from diffuprompt.data.class_names import short
from diffuprompt.data.manifest import MAX_SHOWN
from diffuprompt.errors import DataError
from diffuprompt.reading import read_text

FILE = "classnames.txt"
WNID = re.compile(r"n\d{8}")
# CLIP's list gives "missile" and "sunglasses" to two classes each. Two names that are one prompt
# cannot be told apart, so that the second of each pair could never be right (100 of 50,000 test
# images); WordNet's own first words tell them apart.
_TWINS = {"n04008634": ("missile", "projectile"), "n04355933": ("sunglasses", "sunglass")}
_LEMMAS = {"n01514668": "cock", "n02012849": "crane"}  # another list of the same file name


def read_wordnet_names(file: Path) -> dict[str, str]:
    """Return the names by WordNet id, in the order of the file; a line is ``<id> <name>``.

    The names are those of CLIP's list. Two pairs of equal names are told apart by WordNet's
    words: n04008634 is "projectile" and n04355933 "sunglass" (the benchmark's released code leaves
    them equal, which costs it up to 0.2 points on ImageNet). Raises `DataError` with every line
    that is none, and for the list of WordNet's first words, which other repositories have under the
    same file name.
    """
    names: dict[str, str] = {}
    problems = []
    lines = read_text(file, error=DataError).splitlines()
    for number, line in enumerate(lines, start=1):
        wnid, _, name = line.strip().partition(" ")
        if not wnid:
            continue
        if not WNID.fullmatch(wnid) or not name.strip():
            problems.append(f"line {number}: expected 'n01440764 tench', got {short(line.strip())}")
        elif wnid in names:
            problems.append(f"line {number}: {wnid} stands there twice")
        else:
            names[wnid] = name.strip()
    if not names and not problems:
        problems.append("expected one line for each class, found none")
    if problems:
        shown = "\n  ".join(problems[:MAX_SHOWN])
        raise DataError(f"{file}: {len(problems)} problem(s)\n  {shown}")
    if all(names.get(wnid) == lemma for wnid, lemma in _LEMMAS.items()):
        raise DataError(
            f"{file}: these are WordNet's first words ('cock', and 'crane' twice), on which a text "
            "tower does much worse; take the names of CLIP's list ('rooster', 'crane bird'), as "
            f"the {FILE} of CoOp's repository has them"
        )
    for wnid, (name, instead) in _TWINS.items():
        if names.get(wnid) == name and list(names.values()).count(name) > 1:
            names[wnid] = instead
    return names
