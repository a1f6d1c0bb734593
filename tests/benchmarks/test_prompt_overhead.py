"""The overhead benchmark: shares are of the same round, and its samples cost five evaluations."""

from __future__ import annotations

import pytest
import torch
from benchmarks import prompt_overhead
from benchmarks.prompt_overhead import CLASSIFY, IMAGES, SETTINGS, check, shares
from tests.contract.generators import shrink_networks
from tests.generators.toy import FEATURES, SPEC, make


def test_shares_are_medians_of_the_rounds_own():
    def one(load: float, small: float):
        return {CLASSIFY: (load, 10.0), IMAGES: (load, 10.0), "small": (small * load, 1.0)}

    found = shares([one(1.0, 0.1), one(50.0, 0.12), one(3.0, 0.5)])["small"]
    assert found["ratio"] == pytest.approx(0.12)  # whatever else the machine did in a round
    assert found["ratio_with_image_tower"] == pytest.approx(0.06)
    assert found["cpu_ratio"] == pytest.approx(0.1)
    assert found["wall_s"] == pytest.approx(1.5)


@pytest.mark.parametrize("name", SETTINGS)
def test_samples_are_counted(name, monkeypatch):
    shrink_networks(monkeypatch)
    features, own = torch.ones(2, FEATURES), torch.zeros(1, SPEC.size)
    check(make(nfe=prompt_overhead.NFE, **SETTINGS[name]), features, own)
    with pytest.raises(RuntimeError, match="expected 5 evaluations per sample, counted 4"):
        check(make(nfe=4, **SETTINGS[name]), features, own)
