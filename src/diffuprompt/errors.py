"""The errors a user can meet: each says what was expected, what was got, and what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


class AbsentDataError(DataError):
    """Images are not on this machine; nothing is wrong with what is here."""


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

    @classmethod
    def of(cls, path: object, cause: OSError, wanted: int | None = None) -> StorageError:
        """Return the error for a file that could not be written, with what to do about it.

        ``wanted`` are the bytes that were to be written, where they are known.
        """
        reason = cause.strerror or str(cause)
        size = f" ({_size(wanted)} to write{_free(path)})" if wanted is not None else ""
        return cls(f"{path}: cannot be written: {reason}{size}; {_advice(cause.errno)}")

    @staticmethod
    def is_about(cause: OSError) -> bool:
        """Whether what the system said can only be of writing: there is no room, or no right."""
        return cause.errno in (*_FULL, errno.EROFS)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_AGAIN = "then give the same command again: it goes on where it stopped"


def _advice(code: int | None) -> str:
    if code in _FULL:
        return (
            "make room, or lead large files elsewhere (runs: --runs-dir; what is kept between "
            "runs: the folder DIFFUPROMPT_CACHE, at most DIFFUPROMPT_CACHE_GIB beside archives "
            "in it, which nothing bounds and you may delete), " + _AGAIN
        )
    if code in _CLOSED:
        return "make the folder writable for you, or name another one"
    if code in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a file stands where a folder is needed, or a folder where a file is; name another"
    if code == errno.ENAMETOOLONG:
        return "give it a shorter name"
    return f"look after that place, {_AGAIN}"


def _free(path: object) -> str:
    """Return how much room is left where ``path`` would be, nothing where nobody can say."""
    for folder in Path(str(path)).absolute().parents:
        try:
            return f", {_size(shutil.disk_usage(folder).free)} free"
        except OSError:  # not made yet
            continue
    return ""


def _size(count: int) -> str:
    return f"{count} bytes" if count < 2**20 else f"{count / 2**20:.0f} MiB"


@contextmanager
def writing(path: object, wanted: int | None = None) -> Iterator[None]:
    """Turn what the system refuses inside the block into a `StorageError` about ``path``."""
    try:
        yield
    except OSError as cause:
        raise StorageError.of(path, cause, wanted) from cause


def near_miss(wrong: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest of ``known``, or an empty string."""
    from difflib import get_close_matches

    if len(wrong) > LONGEST:
        return ""
    close = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
