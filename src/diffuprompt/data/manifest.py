"""The manifest: which image has which label in which split, and nothing about pixels.

Paths are relative and posix, so a manifest is the same on every machine; only `Manifest.root`
is local, and it is left out of the hash and of the JSON form.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from diffuprompt.data.class_names import name_problems
from diffuprompt.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SCHEMA = "diffuprompt.manifest/1"
MAX_SHOWN = 20  # problems listed in one error message; the rest is counted


@dataclass(frozen=True, slots=True)
class Item:
    """One image: posix ``path`` relative to the manifest's root, and its 0-based ``label``."""

    path: str
    label: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with the data: where, what, and what to do about it."""

    path: str
    what: str
    fix: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Return one line for a terminal."""
        return f"{self.path}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class Manifest:
    """A data set: class names by label and, for each of train, val and test, its items in order.

    Splits that are not given are empty. The order of items is part of the meaning: records keep
    hits in test order, and few-shot sampling reads train in order.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    # keys are `Split`, checked below; Mapping is invariant in them, so the type stays open
    splits: Mapping[Any, tuple[Item, ...]]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.splits) - set(SPLITS))
        if unknown:
            raise DataError(f"{self.name}: unknown splits {unknown}, expected {list(SPLITS)}")
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "splits", {s: tuple(self.splits.get(s, ())) for s in SPLITS})

    def select(self, labels: Sequence[int]) -> Manifest:
        """Keep only ``labels``, renumbered from 0 in the order given; items keep their order.

        Raises `DataError` for a label that is out of range or given twice.
        """
        wrong = [label for label in labels if not 0 <= label < len(self.classes)]
        if wrong or len(set(labels)) != len(labels):
            raise DataError(
                f"{self.name}: expected distinct labels in 0..{len(self.classes) - 1}, "
                f"got {list(labels)[:MAX_SHOWN]}"
            )
        new = {old: i for i, old in enumerate(labels)}
        splits = {
            split: tuple(Item(i.path, new[i.label]) for i in items if i.label in new)
            for split, items in self.splits.items()
        }
        return replace(self, classes=tuple(self.classes[i] for i in labels), splits=splits)

    @property
    def hash(self) -> str:
        """Sixteen hex digits over the classes and every (split, path, label), in order."""
        rows = [[s, i.path, i.label] for s, items in self.splits.items() for i in items]
        text = json.dumps([list(self.classes), rows], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def problems(self, needs: Sequence[Split] = ("train",)) -> list[Problem]:
        """Return every structural problem; no image is opened.

        ``needs`` names the splits in which every class must have an image: training needs
        ``("train",)``, a test-only data set ``("test",)``.
        """
        return [*self._class_problems(needs), *self._item_problems()]

    def check(self, needs: Sequence[Split] = ("train",)) -> Manifest:
        """Return self, or raise one `DataError` that holds all of `problems`."""
        return self.refuse(self.problems(needs))

    def refuse(self, problems: Sequence[Problem]) -> Manifest:
        """Return self, or raise one `DataError` that holds all of ``problems``."""
        if problems:
            shown = [str(problem) for problem in problems[:MAX_SHOWN]]
            if len(problems) > MAX_SHOWN:
                shown.append(f"... and {len(problems) - MAX_SHOWN} more")
            lines = "\n  ".join(shown)
            raise DataError(f"data set {self.name!r}: {len(problems)} problem(s)\n  {lines}")
        return self

    def _class_problems(self, needs: Sequence[Split]) -> Iterator[Problem]:
        where = str(self.root)
        if len(self.classes) < 2:
            yield Problem(
                path=where,
                what=f"expected at least two classes, got {list(self.classes)}",
                fix="add images of another class",
            )
        for problem in name_problems(self.classes):
            yield Problem(path=where, what=problem, fix="rename or merge")
        for split in needs:
            present = {item.label for item in self.splits[split]}
            for label, name in enumerate(self.classes):
                if label not in present:
                    yield Problem(
                        path=where,
                        what=f"class {name!r} has no image in {split}",
                        fix=f"add images to it or remove the class from {split}",
                    )

    def _item_problems(self) -> Iterator[Problem]:
        seen: dict[str, str] = {}
        for split, items in self.splits.items():
            for item in items:
                if not 0 <= item.label < len(self.classes):
                    yield Problem(
                        path=item.path,
                        what=f"label {item.label} in {split} is not in 0..{len(self.classes) - 1}",
                        fix="correct the label",
                    )
                key = posixpath.normpath(unicodedata.normalize("NFC", item.path))
                if key in seen:
                    yield Problem(
                        path=item.path,
                        what=f"listed twice, in {seen[key]} and in {split}",
                        fix="keep one of the two",
                    )
                elif not os.path.isfile(self.root / item.path):
                    yield Problem(
                        path=str(self.root / item.path),
                        what=f"file not found (listed in {split})",
                        fix="restore it, correct the path or remove the entry",
                    )
                seen[key] = split

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form without the root."""
        splits = {s: [[i.path, i.label] for i in items] for s, items in self.splits.items()}
        return {
            "schema": SCHEMA,
            "name": self.name,
            "classes": list(self.classes),
            "splits": splits,
        }

    @classmethod
    def from_json(cls, data: Any, root: Path) -> Manifest:
        """Inverse of `to_json`; ``root`` is where the images are on this machine.

        Raises `DataError` when ``data`` is not what `to_json` returns.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise DataError(f"expected a manifest with schema {SCHEMA!r}, got {str(data)[:80]}")
        try:
            splits = {
                split: tuple(Item(str(path), int(label)) for path, label in rows)
                for split, rows in data["splits"].items()
            }
            return cls(str(data["name"]), root, tuple(data["classes"]), splits)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a valid manifest: {type(error).__name__}: {error}") from error
