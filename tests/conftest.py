"""Fixtures for every room: the read-only data and models that tests may use when they are there."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tests run in parallel processes, and one thread adds in one order
os.fsync = lambda _: None  # nobody pulls the plug during a test, and a run waits for the disk often

VARIABLE = "DIFFUPROMPT_DATA"
CHECKOUT = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    """Find ``shared/<name>``; without it skip, or fail where CI=true promises that it is there."""
    if os.environ.get(VARIABLE):
        base = Path(os.environ[VARIABLE]).expanduser()
        candidates = [base / name, base if name == "data" else base.parent / name]
    else:
        candidates = [CHECKOUT.parent / "shared" / name]
    for path in candidates:
        if path.is_dir():
            return path
    message = f"no {name} folder at {[str(path) for path in candidates]}; set {VARIABLE}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of published data sets: caltech101, coop-splits, coprompt-gpt."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of models: photo-clip-lite."""
    return _shared("models")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write out half characters in what a test logged: they cannot be sent between processes."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
