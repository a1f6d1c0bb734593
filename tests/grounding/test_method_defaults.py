"""A stage's key names what differs from a method's defaults, so these may not change unseen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from diffuprompt.grounding import Detector, method_settings, open_detector
from diffuprompt.grounding.methods.registry import METHODS

GOLDEN = Path(__file__).with_suffix(".json")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector("scenes-glip")


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_those_of_the_keys(name: str, detector: Detector) -> None:
    """To change one, raise VERSION of stages/grounding/method.py and mend the golden file."""
    golden, found = json.loads(GOLDEN.read_text()), asdict(method_settings(name, detector))
    assert json.loads(json.dumps(found)) == golden[name]
