"""What is published is what the shipped records say: tables, figures and summaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.report.markdown import check
from diffuprompt.studies.reported import STUDIES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "results").is_dir(), reason="an sdist has no results/")
def test_the_published_results_are_what_the_records_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # links to figures are relative to the document
    check([Path("results")], Path("RESULTS.md"), studies=STUDIES)
