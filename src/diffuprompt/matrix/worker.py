"""One job of a matrix in a process of its own: ``python -m diffuprompt.matrix.worker``.

A fresh process makes the peak memory in the record the job's own, and whatever goes wrong in it
leaves the other jobs alone. The first line of stdin is the job; stdin then stays open as long as
whoever started it lives, and its end is the request to stop.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from diffuprompt.engine import LogProgress, Progress
from diffuprompt.errors import DiffupromptError
from diffuprompt.jobs import Evaluation, job_from_json

LOG_EVERY_S = 60.0
ERROR = "error: "  # starts the line of a log file that says why a job failed


def work(line: str) -> int:
    """Train and score the job that ``line`` holds as JSON; return the exit code."""
    log = logging.getLogger("diffuprompt")
    try:
        progress = LogProgress(every_s=LOG_EVERY_S)
        message = json.loads(line)
        WORK[message["task"]](message, progress)
    except (DiffupromptError, OSError) as error:
        log.error("%s%s", ERROR, error)
        return getattr(error, "exit_code", 1)
    return 0


def _classify(message: dict[str, Any], progress: Progress) -> None:
    from diffuprompt.jobs import calibrate_run, evaluate_run, train_job

    asked = message["evaluation"]
    lists = {name: tuple(value) for name, value in asked.items() if isinstance(value, list)}
    evaluation = Evaluation(**{**asked, **lists})
    job = job_from_json(message["job"])
    run = train_job(job, progress)
    calibrate_run(run, train=False, progress=progress)  # so that the record says how honest it is
    evaluate_run(run, evaluation=evaluation, test_data=job.test_data or None, progress=progress)


def _ground(message: dict[str, Any], progress: Progress) -> None:
    from diffuprompt.jobs import GroundingJobConfig, evaluate_grounding, train_grounding

    job = GroundingJobConfig.from_json(message["job"])
    evaluate_grounding(train_grounding(job, progress), test=job.test, progress=progress)


WORK: dict[str, Callable[[dict[str, Any], Progress], None]] = {
    "classification": _classify,
    "grounding": _ground,
}


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _read_line() -> str:
    """Read one line of stdin, unbuffered: a thread must not hold Python's buffer at the end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode()


def _stop_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Read the job, watch the parent, work."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    line = _read_line()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return work(line)


if __name__ == "__main__":
    sys.exit(main())
