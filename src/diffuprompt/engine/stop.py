"""SIGTERM as a polite request: the work is saved first, then the process exits with 143."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class StopRequest:
    """While open, SIGTERM only sets ``asked``; the old handler comes back at the end.

    Python runs signal handlers in the main thread only, so elsewhere this does nothing.
    """

    def __init__(self, *, active: bool = True) -> None:
        self._active = active and threading.current_thread() is threading.main_thread()
        self._old: Any = None
        self.asked = False

    def __enter__(self) -> Self:
        if self._active:
            self._old = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._active:  # None: the old handler was not set from Python and cannot be given back
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._old is None else self._old)

    def leave_if_asked(self) -> None:
        """Raise ``SystemExit(143)``, what a shell reports for SIGTERM, when a stop was asked."""
        if self.asked:
            raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
