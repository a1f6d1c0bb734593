"""The front door: verbs, exit codes, near misses, and that help loads nothing heavy."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diffuprompt import __version__
from diffuprompt.cli import main as front
from diffuprompt.cli.parse import options
from diffuprompt.errors import CheckpointError, ConfigError, DataError, TrainingError

SURFACE = Path(__file__).with_name("surface.txt")
HEAVY = ("torch", "numpy", "PIL", "pydantic", "rich")


def verb_module(verb: str) -> Any:
    return importlib.import_module(f"diffuprompt.cli.{front.VERBS[verb][0]}")


def test_option_names_are_a_promise() -> None:
    """Renaming or dropping an option breaks users' scripts: change surface.txt knowingly."""
    lines = [f"{verb}: {' '.join(sorted(options(verb_module(verb).Args)))}" for verb in front.VERBS]
    assert lines == SURFACE.read_text().splitlines()


@pytest.mark.parametrize("verb", list(front.VERBS))
def test_help_shows_every_option_and_ends_with_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main([*verb.split(), "--help"]) == 0
    module = verb_module(verb)
    shown = capsys.readouterr().out
    for option in options(module.Args):
        assert option in shown
    tail = shown.partition("examples:")[2]
    examples = [line.strip() for line in tail.strip().splitlines()]
    assert examples
    assert all(line.startswith(f"diffuprompt {verb}") for line in examples)


@pytest.mark.parametrize("verb", list(front.VERBS))
def test_examples_parse(verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shlex

    from diffuprompt.cli.parse import parse

    monkeypatch.chdir(tmp_path)
    Path("experiment.toml").write_text('learner = "coop"\n')
    module = verb_module(verb)
    for line in module.EXAMPLES.strip().splitlines():
        words = shlex.split(line.partition(" > ")[0])[1 + len(verb.split()) :]
        parse(module.Args, words, prog=verb)


def test_help_loads_nothing_heavy() -> None:
    """All help in one process, which names the first verb that loads something."""
    every = [["--help"], *([*verb.split(), "--help"] for verb in front.VERBS)]
    code = (
        "import sys; from diffuprompt.cli.main import main\n"
        f"for words in {every!r}:\n"
        "    code = main(words)\n"
        f"    loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "    if code or loaded: sys.exit(f'{words}: {code}, loaded {loaded}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: diffuprompt") >= len(front.VERBS)


def test_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb}  " in shown for verb in front.VERBS)
    assert max(map(len, shown.splitlines())) <= 90
    assert front.main([]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Unknown verb trian. Did you mean train?"),
        (["data"], "try 'diffuprompt data verify'"),
        (["data", "verfy"], "try 'diffuprompt data verify'"),
        (["--verson"], "Unknown option --verson. Did you mean --version?"),
        (["train", "--lerner", "coop"], "Unknown option --lerner. Did you mean --learner?"),
        (["train", "--lerner=coop"], "Unknown option --lerner. Did you mean --learner?"),
        (["train", "--protocol", "fewshot"], "got 'fewshot'. Did you mean 'few-shot'?"),
        (["ls", "learnrs"], "Did you mean 'learners'?"),
        (["evaluate"], "at least one run folder"),
        (["predict"], "at least one image"),
    ],
)
def test_usage_errors_exit_2_with_the_near_miss(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main(words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


def test_all_unknown_options_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["train", "--lerner", "coop", "--shot", "4"]) == 2
    shown = capsys.readouterr().err
    assert "--learner?" in shown
    assert "--shots?" in shown


@pytest.mark.parametrize("words", [["train", "--shots", "many"], ["data", "verify"]])
def test_malformed_and_missing_values_exit_2(words: list[str]) -> None:
    assert front.main(words) == 2


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    module = importlib.import_module("diffuprompt.cli.train")

    def run(args: object) -> int:
        raise error

    monkeypatch.setattr(module, "run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("told you"), 2),
        (DataError("told you"), 3),
        (CheckpointError("told you"), 4),
        (TrainingError("told you"), 4),
        (OSError("told you"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (SystemExit(None), 0),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(monkeypatch, error)
    assert front.main(["train"]) == code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert ("error: told you" in shown) == isinstance(error, Exception)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_traceback(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, DataError("told you"))
    if how == "variable":
        monkeypatch.setenv("DIFFUPROMPT_DEBUG", "1")
    assert front.main(["train", "--debug"] if how == "option" else ["train"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("told you"), KeyError("told you"), RecursionError("told you"),
     UnicodeDecodeError("utf-8", b"", 0, 1, "told you"), AssertionError("told you"),
     ExceptionGroup("told you", [ValueError()]), RuntimeError("told you" * 1000)],
)  # fmt: skip
def test_a_fault_of_ours_says_so_and_how_to_report_it(
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raising(monkeypatch, error)
    assert front.main(["train"]) == 70
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert f"a fault of diffuprompt, not of yours ({type(error).__name__}: " in shown
    assert "told you" in shown
    assert len(shown) < 1500
    (file,) = tmp_path.iterdir()
    assert str(file) in shown
    kept = file.read_text()
    assert "Traceback" in kept
    assert "command: diffuprompt ['train']" in kept
    assert front.main(["train", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_without_a_temporary_folder_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/none/such")
    raising(monkeypatch, ZeroDivisionError("told you"))
    assert front.main(["train"]) == 70
    assert "ZeroDivisionError: told you" in capsys.readouterr().err


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (MemoryError(), 5, ["memory is not enough", "--text-memory-mib", "--batch-size"]),
        (OutOfMemoryError("CUDA out of memory"), 5, ["memory is not enough", "CUDA out of memory"]),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            5,
            ["memory is not enough"],
        ),
        (OSError(28, "No space left on device", "a/b"), 5, ["a/b", "No space left", "make room"]),
        (
            OSError(122, "Disk quota exceeded", "a/b"),
            5,
            ["a/b", "DIFFUPROMPT_CACHE_GIB", "archives"],
        ),
        (OSError(30, "Read-only file system", "a/b"), 5, ["a/b", "writable"]),
        (PermissionError(13, "Permission denied", "a/b"), 1, ["a/b: Permission denied"]),
        (NotADirectoryError(20, "Not a directory", b"a/\xff"), 1, ["a/\\xff: Not a directory"]),
    ],
)
def test_what_the_system_refuses_names_the_place(
    error: Exception,
    code: int,
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(monkeypatch, error)
    assert front.main(["train"]) == code
    shown = capsys.readouterr().err
    assert all(part in shown for part in parts), shown


HOSTILE = "\x1b[2J\x1b]0;title\x07name\x9b31m\u202egpj.exe\u2066\r\udcff\0"


@pytest.mark.parametrize("stream", ["out", "err", "log", "table"])
def test_a_terminal_obeys_no_name(
    stream: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import logging

    from diffuprompt.cli.console import table

    module = importlib.import_module("diffuprompt.cli.train")

    def run(args: object) -> int:
        if stream == "out":
            print(HOSTILE)
        elif stream == "log":
            logging.getLogger("diffuprompt").warning("%s", HOSTILE)
        elif stream == "table":
            print(table(["a", "b"], [[HOSTILE, "c"], ["d", "e"]]))
        else:
            raise DataError(HOSTILE)
        return 0

    monkeypatch.setattr(module, "run", run)
    assert front.main(["train"]) == (3 if stream == "err" else 0)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066\r\udcff\0")
    assert r"\x1b[2J" in shown
    assert r"\u202egpj.exe" in shown


def test_what_a_terminal_cannot_show_stops_nothing() -> None:
    """Names in other scripts, "±" and bars ended in a UnicodeEncodeError under LC_ALL=C."""
    code = (
        "import diffuprompt.cli.train as t; t.run = lambda args: print('█ ± 猫 \\udcff') or 0;"
        "from diffuprompt.cli.main import main; raise SystemExit(main(['train']))"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sigterm_unwinds_and_exits_143(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("diffuprompt.cli.train")
    unwound = []

    def run(args: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            unwound.append(True)
        return 0

    monkeypatch.setattr(module, "run", run)
    before = signal.getsignal(signal.SIGTERM)
    assert front.main(["train"]) == 143
    assert unwound
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_package_can_be_run_as_a_module() -> None:
    """`python -m diffuprompt` failed."""
    words = [sys.executable, "-m", "diffuprompt", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout
