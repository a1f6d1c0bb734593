"""`diffuprompt VERB ...`: find the verb, parse its options, run it, turn errors into exit codes.

Only the chosen verb's module is imported, and a verb module imports only the standard library and
tyro until `run`, so that help answers at once.

Whatever is printed goes through `printable`: names from files cannot move or colour a terminal.

Exit codes: 0 ok, 1 what the system refuses, 2 usage, 3 data, 4 failed check or unusable file, 5 no
room on the disk or in memory, 70 a fault of ours, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import NoReturn, TextIO, cast

from diffuprompt.cli.failures import explained
from diffuprompt.cli.printable import Printable
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.printable import printable

VERBS: dict[str, tuple[str, str]] = {
    "train": ("train", "Learn prompts from a few labelled images; resumes if interrupted."),
    "choose": ("choose", "Find out which method suits your pictures, within some minutes."),
    "evaluate": ("evaluate", "Score finished runs on their test images and write record.json."),
    "calibrate": ("calibrate", "Fit a run's temperature and its threshold for none of these."),
    "study base-to-new": ("study_base_to_new", "Train and score many learners and seeds."),
    "study cross-dataset": ("study_cross_dataset", "Train on one data set, test on many."),
    "study domain": ("study_domain", "Train on some domains, test on others; leave one out."),
    "study few-shot": ("study_few_shot", "The curve over 1, 2, 4, 8 and 16 images per class."),
    "study plug-in": ("study_plug_in", "Plug generators into learners: rivals, controls, sweeps."),
    "study shift": ("study_shift", "Diffusion where test pictures differ from training ones."),
    "predict": ("predict", "Name what is in images, with the trained classes or with your own."),
    "draw": ("draw", "Show prompts: nearest words, where a logit is from, what they draw."),
    "ground train": ("ground_train", "Learn to find what an expression means in a picture."),
    "ground evaluate": ("ground_evaluate", "Score grounding runs: R@1, R@5, R@10 and UB."),
    "ground study": ("ground_study", "Diff-Prompt, rivals and controls on made worlds."),
    "ground predict": ("ground_predict", "Find in a picture what expressions mean, and draw it."),
    "ground demo": ("ground_demo", "Score and draw the bundled grounder on scenes, in seconds."),
    "import": ("import_legacy", "Turn a checkpoint of a method's own code into an artifact."),
    "report": ("report", "Make tables, figures and one HTML page from records."),
    "data doctor": ("data_doctor", "Say what is there of each published data set, and what to do."),
    "data add": ("data_add", "Give a data set of your own a name, for --data everywhere."),
    "data remove": ("data_remove", "Forget such a name; the pictures stay."),
    "data fewshot": ("data_fewshot", "Write a few-shot subset as JSON, to share or to train on."),
    "data shift": ("data_shift", "Write corrupted and styled copies of test pictures to test on."),
    "data verify": ("data_verify", "Read every image of a data set and list all problems."),
    "ls": ("ls", "List learners, generators, backbones, datasets, presets or runs."),
    "show presets": ("show", "Show one recipe in full: values, source, published numbers."),
    "cp presets": ("cp", "Write a recipe to a file to edit, for train --config."),
    "doctor": ("doctor", "Check this machine: packages, memory, backbones, data sets."),
    "demo": ("demo", "Run the whole thing on the bundled scenes world, in minutes."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv`` (default: the process's own) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("DIFFUPROMPT_DEBUG", "0") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without "±" is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    try:
        with _sigterm_exits():
            return _dispatch(words)
    except SystemExit as stop:
        return _exit_code(stop)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        text, code = explained(error, words)
        if debug:
            import traceback

            text = traceback.format_exc()
        print(printable(text), file=sys.stderr)
        return code


def overview() -> str:
    """Return the text of ``diffuprompt --help``."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "usage: diffuprompt VERB [OPTIONS]",
            "",
            "Few-shot prompts for frozen CLIP models, made specific to each image by diffusion.",
            "",
            "verbs:",
            *lines,
            "",
            "options of every verb:",
            "  -h, --help  show the verb's options and examples",
            "  --debug     show the traceback of an error (also DIFFUPROMPT_DEBUG=1)",
            "  --version   show the version (before any verb)",
            "",
            "examples:",
            "  diffuprompt demo",
            "  diffuprompt train --data scenes --learner cocoop --generator diffusion",
            "  diffuprompt predict holiday.jpg --classes cat,dog,horse",
            "  diffuprompt train --data ~/Pictures/birds",
        ]
    )


def split_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split the command line into the verb (one or two words) and the rest.

    Raises:
        ConfigError: no such verb; the message names the nearest one.
    """
    for name in VERBS:
        head = name.split()
        if list(words[: len(head)]) == head:
            return name, list(words[len(head) :])
    families = {name.split()[0]: name for name in VERBS if " " in name}
    if words[0] in families:
        raise ConfigError(f"{words[0]!r} is not complete: try 'diffuprompt {families[words[0]]}'")
    kind = "option" if words[0].startswith("-") else "verb"
    known = ["--help", "--version", "--debug"] if kind == "option" else list(VERBS)
    hint = near_miss(words[0], known) or f" Expected one of: {', '.join(known)}."
    raise ConfigError(f"Unknown {kind} {words[0][:80]}.{hint}".replace("'", ""))


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        from diffuprompt import __version__

        print(f"diffuprompt {__version__}")
        return 0
    verb, rest = split_verb(words)
    from importlib import import_module

    from diffuprompt.cli.parse import parse

    module = import_module(f"diffuprompt.cli.{VERBS[verb][0]}")
    prog = f"diffuprompt {verb}"
    args = parse(module.Args, rest, prog=prog, about=VERBS[verb][1], examples=module.EXAMPLES)
    from diffuprompt.cli.console import set_up_logging

    set_up_logging()
    with redirect_stdout(cast(TextIO, Printable(sys.stdout))):
        code: int = module.run(args)
    return code


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(printable(str(stop.code)), file=sys.stderr)
    return 1


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that files and the terminal are left in order."""

    def handler(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
