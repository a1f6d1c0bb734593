"""What a person is told when something fails, and the exit code that a script reads."""

from __future__ import annotations

import platform
import tempfile
import traceback
from collections.abc import Sequence

from diffuprompt.errors import DiffupromptError, StorageError

SYSTEM, NO_ROOM, OURS = 1, StorageError.exit_code, 70
LONGEST = 500  # characters of another library's words


def explained(error: Exception, words: Sequence[str]) -> tuple[str, int]:
    """Return what to print and the exit code.

    Args:
        error: an error of ours is for the user; one of the system is named with its file; anything
            else is a fault of this package, and its traceback is kept in a file to be reported.
        words: the command line.
    """
    if isinstance(error, DiffupromptError):
        return f"error: {error}", error.exit_code
    if _is_memory(error):
        return f"error: {MEMORY}\n  the system says: {_short(error)}", NO_ROOM
    if isinstance(error, OSError):
        return _system(error)
    return _fault(error, words), OURS


MEMORY = (
    "the memory is not enough for this; give it less to do at once: a smaller --text-memory-mib or "
    "--image-memory-mib, fewer --workers, predict with a smaller --batch-size, or a smaller "
    "train.batch, fit.batch, overfit.batch or rival.latent by --set"
)


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out: of Python, of a GPU, or of torch's allocator on the processor."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _system(error: OSError) -> tuple[str, int]:
    place = error.filename2 or error.filename
    if place is None or error.errno is None:
        return f"error: {_short(error)}", SYSTEM
    where = place.decode(errors="backslashreplace") if isinstance(place, bytes) else place
    if StorageError.is_about(error):
        return f"error: {StorageError.of(where, error)}", NO_ROOM
    return f"error: {where}: {error.strerror}; look whether the name is right", SYSTEM


def _fault(error: Exception, words: Sequence[str]) -> str:
    from diffuprompt import __version__

    what = f"this is a fault of diffuprompt, not of yours ({type(error).__name__}: {_short(error)})"
    told = (
        f"diffuprompt {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: diffuprompt {list(words)!a}\n\n" + "".join(traceback.format_exception(error))
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            prefix="diffuprompt-fault-",
            suffix=".txt",
            delete=False,
        ) as file:
            file.write(told)
    except OSError:
        return f"error: {what}; please report it with what follows\n\n{told}"
    return (
        f"error: {what}\n  please report it with the file {file.name}, which holds the command and "
        "where it failed, and with what 'diffuprompt doctor' says"
    )


def _short(error: Exception) -> str:
    text = str(error) or "no words"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
