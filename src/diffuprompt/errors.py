"""The errors a user can meet: each says what was expected, what was got, and what to do."""

from __future__ import annotations

LONGEST = 200  # characters of a word that may be a slip; comparing longer ones takes seconds


class DiffupromptError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""

    exit_code = 1


class ConfigError(DiffupromptError):
    """An option, preset or configuration file is wrong."""

    exit_code = 2


class DataError(DiffupromptError):
    """A data set, an image or a class list is wrong; the message names the file."""

    exit_code = 3


class CheckpointError(DiffupromptError):
    """A backbone, an artifact or a resume file cannot be used."""

    exit_code = 4


class PromptShapeError(DiffupromptError):
    """Prompts do not fit the tower or the specification they are given to."""

    exit_code = 4


class TrainingError(DiffupromptError):
    """Training had to stop, for example because the loss is not finite."""

    exit_code = 4


class StorageError(DiffupromptError):
    """A file cannot be written: the disk is full, or the folder is not ours to write in."""

    exit_code = 5


def near_miss(wrong: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest of ``known``, or an empty string."""
    from difflib import get_close_matches

    if len(wrong) > LONGEST:
        return ""
    close = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
