"""A few examples of every group; `make fuzz` runs thousands.

Whatever a file or an option holds, reading it ends in a result that is right, or in an error of
ours that names the file or the field.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.fuzz.group import FAULTS, Example, Group, judge
from tests.fuzz.groups import GROUPS

EXAMPLES = 60
SLOWER = {"runs": 15}


@pytest.fixture(scope="module", params=GROUPS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Group, Any]:
    """Return a group and what its examples start from."""
    group = GROUPS[request.param]
    return group, group.material(tmp_path_factory.mktemp(group.name))


def test_no_input_passes_in_silence_or_ends_in_a_traceback(
    made: tuple[Group, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    group, material = made
    monkeypatch.setenv("DIFFUPROMPT_CACHE", str(tmp_path / "cache"))

    @settings(
        max_examples=SLOWER.get(group.name, EXAMPLES),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(group.examples(material))
    def one(example: Example) -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        try:
            verdict = judge(group, material, example, folder)
        finally:
            shutil.rmtree(folder)
        assert verdict.kind not in FAULTS, f"{verdict.kind}: {verdict.text}\n{example.what!r:.2000}"

    one()
