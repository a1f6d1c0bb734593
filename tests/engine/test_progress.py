"""Progress as log lines: few, and honest when the work stops early."""

import logging

import pytest

from diffuprompt.engine import progress


def test_null_accepts_everything():
    with progress.NULL.task("work", total=3) as task:
        task.advance()
        task.advance(2, loss=0.5)


def test_log_lines_show_counts_stats_and_time_left(caplog):
    caplog.set_level(logging.INFO, "diffuprompt")
    with progress.LogProgress(every_s=0).task("overfitting", total=3) as task:
        task.advance(1, ce=0.51239)
        task.advance(2, ce=0.25)
    first, last = caplog.messages
    assert first.startswith("overfitting: 1/3, ce 0.5124, ")
    assert first.endswith(" left")
    assert last.startswith("overfitting: 3/3, ce 0.25, took ")


def test_lines_are_rare_by_default(caplog):
    caplog.set_level(logging.INFO, "diffuprompt")
    with progress.LogProgress().task("work", total=1000) as task:
        for _ in range(1000):
            task.advance()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("seconds", "most"), [(60, 11), (600, 22), (6000, 112)]
)  # the ends of a geometric series, then one a minute
def test_the_longer_it_takes_the_rarer_they_become(caplog, monkeypatch, seconds, most):
    caplog.set_level(logging.INFO, "diffuprompt")
    clock = iter(range(10**6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.LogProgress().task("work", total=seconds) as task:
        for _ in range(seconds):
            task.advance()
    assert seconds / 60 <= len(caplog.messages) <= most


def test_an_error_is_not_shown_as_an_end(caplog):
    caplog.set_level(logging.INFO, "diffuprompt")

    def work():
        with progress.LogProgress().task("work", total=2) as task:
            task.advance()
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        work()
    assert caplog.messages[-1].startswith("work: stopped at 1/2")


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.26, "7.3 s"), (12, "12 s"), (249, "4:09"), (3753, "1:02:33")]
)
def test_durations(seconds, text):
    assert progress.format_seconds(seconds) == text
