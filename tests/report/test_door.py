"""Other rooms take from the report what its door exports, and the engine knows no study."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import diffuprompt
from diffuprompt import report

SOURCE = Path(diffuprompt.__file__).parent


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield file and module of every import under a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                yield str(path.relative_to(SOURCE)), node.module
            elif isinstance(node, ast.Import):
                for name in node.names:
                    yield str(path.relative_to(SOURCE)), name.name


def test_other_rooms_come_in_by_the_door() -> None:
    inside = "diffuprompt.report."
    found = [(file, module) for file, module in imported(SOURCE) if module.startswith(inside)]
    assert [pair for pair in found if not pair[0].startswith("report/")] == []
    assert found, "the check sees imports"


def test_every_exported_name_is_there_and_used_outside() -> None:
    assert sorted(set(report.__all__)) == sorted(report.__all__)
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("cli", "studies")
        for path in (SOURCE / room).rglob("*.py")
    )
    for name in report.__all__:
        assert hasattr(report, name)
        assert name in text, f"nobody outside uses {name}"


def test_the_engine_imports_no_study() -> None:
    modules = {module for _, module in imported(SOURCE / "report")}
    assert not [module for module in modules if module.startswith("diffuprompt.studies")]
