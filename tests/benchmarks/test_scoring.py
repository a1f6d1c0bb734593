"""The memory benchmark in a small form: all ways are scored, and far less is held than exists."""

import json

import pytest
from benchmarks import scoring


def test_a_small_form_scores_every_way(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scoring", "--json", "--sizes", "10", "130"])
    assert scoring.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == [10, 130]
    assert found["prompt_numbers"] == 46_080
    assert found["peak_growth_mib"] == pytest.approx(found["peak_mib"][1] - found["peak_mib"][0])
    assert found["whole_tensor_mib"] == pytest.approx(130 * 46_080 * 4 / 2**20)
    assert all(seconds > 0 for seconds in found["seconds"])


def test_what_is_measured_has_promptsrcs_size():
    learner = scoring.Wide(scoring.stub_clip())
    assert learner.spec.size == 9 * 4 * (512 + 768)
