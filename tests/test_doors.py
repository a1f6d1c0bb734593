"""Every room has a door: others import what its package exports, and nothing from inside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import diffuprompt

PACKAGE = Path(diffuprompt.__file__).parent
ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
WITH_DOORS = [room for room in ROOMS if room != "cli"]  # no other room imports the command line
OTHERS = ("benchmarks", "examples", "tools")


@cache
def imports(path: Path) -> tuple[tuple[str, str], ...]:
    """Return module and name of every ``from module import name``; of ``import module``, "".

    Of a page, those of its Python blocks. Every file is read once for all rooms.
    """
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def strangers(room: str) -> Iterator[Path]:
    """Yield the files outside a room, and the pages that show how to use it."""
    for folder in (PACKAGE, *(ROOT / name for name in OTHERS)):
        for path in sorted(folder.rglob("*.py")):
            if not path.is_relative_to(PACKAGE / room):
                yield path
    yield from sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("room", WITH_DOORS)
def test_others_come_in_by_the_door(room: str) -> None:
    door, inside, used = f"diffuprompt.{room}", [], set()
    for path in strangers(room):
        for module, name in imports(path):
            if module.startswith(f"{door}.") and not _measured(path, name):
                inside.append(f"{path.relative_to(ROOT)}: {module}")
            if module == door:
                used.add(name)
    assert not inside, f"import from {door} and add the name to its __init__.pyi"
    assert used == set(import_module(door).__all__), "the door exports what is used, and no more"


def _measured(path: Path, name: str) -> bool:
    """Whether a benchmark imports a whole module, to change a constant while it measures."""
    return not name and path.is_relative_to(ROOT / "benchmarks")


@pytest.mark.parametrize("room", WITH_DOORS)
def test_what_the_door_exports_is_there(room: str) -> None:
    door = import_module(f"diffuprompt.{room}")
    if (PACKAGE / room / "__init__.pyi").exists():
        modules = {path.stem for path in (PACKAGE / room).iterdir()}
        assert not modules & set(door.__all__), "Python would replace the name by the module"
    for name in door.__all__:
        assert getattr(door, name) is not None
    with pytest.raises(AttributeError, match="Nonesuch"):
        door.Nonesuch  # noqa: B018


def test_the_report_imports_no_study() -> None:
    files = (PACKAGE / "report").rglob("*.py")
    modules = {module for path in files for module, _ in imports(path)}
    assert not [module for module in modules if module.startswith("diffuprompt.studies")]


def test_the_checks_see_imports(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "import a.b\nif 1:\n    from a.b.c import (d,\n        e as f)\n"
    )
    assert set(imports(tmp_path / "x.py")) == {("a.b", ""), ("a.b.c", "d"), ("a.b.c", "e")}
