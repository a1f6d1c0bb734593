"""What shipped records store about their runs is still read, or named with the version that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.errors import DataError
from diffuprompt.jobs.job import Resolved
from diffuprompt.record import read_record
from diffuprompt.report.load import find_records

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="an sdist has no results/")


def test_every_shipped_configuration_is_read_or_says_what_is_gone() -> None:
    """140 of 254 were refused as unreadable, because defaults had moved and options had gone."""
    read, refused = 0, []
    for path in find_records([RESULTS]).files:
        config = read_record(path).config
        try:
            found = Resolved.from_json(config)
        except DataError as error:
            refused.append(str(error))
            continue
        assert Resolved.from_json(found.to_json()) == found
        read += 1
    assert len(refused) == 14  # trials that the notes call dropped
    assert read >= 244
    for message in refused:
        assert "options that are gone" in message
        assert "in diffuprompt 0.1.0 up to commit" in message


def test_an_option_that_is_gone_but_was_off_is_no_obstacle() -> None:
    path = next(p for p in find_records([RESULTS]).files if "holdout" not in str(p))
    config = read_record(path).config
    off = {**config, "overfit": {**config.get("overfit", {}), "smoothing": 0.0}}
    assert Resolved.from_json(off) is not None
    on = {**config, "overfit": {**config.get("overfit", {}), "smoothing": 0.1}}
    with pytest.raises(DataError, match=r"overfit\.smoothing=0\.1 .*d42a228"):
        Resolved.from_json(on)
