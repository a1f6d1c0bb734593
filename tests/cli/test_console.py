"""Bars on a terminal, plain lines elsewhere, tables aligned."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from diffuprompt.cli.console import BarProgress, console_progress, set_up_logging, table
from diffuprompt.engine.progress import LogProgress


@pytest.fixture(autouse=True)
def _capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb terminal, as in CI, hides and shows no cursor."""
    monkeypatch.setenv("TERM", "xterm-256color")


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def test_bars_on_a_terminal_show_nested_tasks_counts_and_stats() -> None:
    console = terminal()
    progress = console_progress(console)
    assert isinstance(progress, BarProgress)
    with progress.task("outer [a]", total=2) as outer:
        with progress.task("inner", total=4) as inner:
            inner.advance(4, ce=0.25)
        outer.advance(2)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("outer [a]", "inner", "4/4", "2/2", "100%", "ce 0.25"):
        assert text in shown


def test_the_terminal_is_given_back_when_the_work_fails() -> None:
    console = terminal()
    progress = console_progress(console)
    with pytest.raises(ZeroDivisionError), progress.task("broken", total=2):
        raise ZeroDivisionError
    assert console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]
    with progress.task("again", total=1) as task:  # a second use starts clean
        task.advance()
    assert "broken" not in console.file.getvalue().partition("\x1b[?25h")[2]  # type: ignore[attr-defined]


def test_elsewhere_lines_go_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    set_up_logging()
    progress = console_progress(Console(file=io.StringIO()))
    assert isinstance(progress, LogProgress)
    with progress.task("overfitting [x]", total=3) as task:
        task.advance(3)
    logging.getLogger("diffuprompt.data").warning("look [here]")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("overfitting [x]: 3/3")
    assert second == "warning: look [here]"


def test_tables_align_text_left_and_numbers_right() -> None:
    shown = table(["name", "score"], [["a", 9.5], ["long name", 100.0], ["b", None]])
    assert shown.splitlines() == [
        "name        score",
        "---------  ------",
        "a            9.50",
        "long name  100.00",
        "b               -",
    ]


def test_an_empty_table_is_its_header() -> None:
    assert table(["name"], []).splitlines() == ["name", "----"]
