"""Run many jobs, some at a time, each in a process of its own; what is finished is not repeated."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from diffuprompt.engine import format_seconds, write_bytes
from diffuprompt.matrix.entry import Runnable
from diffuprompt.matrix.records import loses_scores, set_aside
from diffuprompt.matrix.worker import ERROR

POLL_S = 0.1
STOP_S = 60.0  # how long a job may take to save what it has when it is asked to stop
WORKER = (sys.executable, "-m", "diffuprompt.matrix.worker")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A job that has no record, why, and where the whole story is."""

    planned: Runnable
    error: str
    log_file: Path | None


@dataclass(kw_only=True)
class _Running:
    planned: Runnable
    process: subprocess.Popen[bytes]
    log_file: Path
    log_start: int  # bytes that earlier processes have written
    start: float = field(default_factory=time.monotonic)


def run_matrix(
    planned: Sequence[Runnable], *, results: Path | None, parallel: int, threads: int
) -> tuple[Failure, ...]:
    """Train and score every job, ``parallel`` at a time; return those that failed.

    A job waits for the run that it needs. A failing job does not stop the others,
    only those that wait for it. An interrupted call (SIGTERM, Ctrl-C, kill -9) goes on where it
    was when it is repeated.

    Args:
        planned: the jobs, those that others wait for first, such as what `plan` returned.
        results: where a copy of each record goes, as ``NAME.json``; None for nowhere.
        parallel: jobs at a time.
        threads: of one job.
    """
    return _Matrix(planned, results, parallel, threads).run()


class _Matrix:
    def __init__(
        self, planned: Sequence[Runnable], results: Path | None, parallel: int, threads: int
    ) -> None:
        self.results, self.parallel, self.threads = results, parallel, threads
        self.done = {p.name for p in planned if p.is_finished}
        self.waiting = [p for p in planned if p.name not in self.done]
        self.known = {p.name for p in planned}
        self.running: list[_Running] = []
        self.failures: list[Failure] = []
        self.took: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for p in planned:
            if p.name in self.done:
                self._keep_record(p)
        if self.done:
            log.info("%d of %d jobs were finished already", len(self.done), len(planned))

    def run(self) -> tuple[Failure, ...]:
        try:
            while self.waiting or self.running:
                self._start_ready()
                self._collect()
                if self.running:
                    time.sleep(POLL_S)
        finally:
            self._stop_all()
        return tuple(self.failures)

    def _start_ready(self) -> None:
        failed = {f.planned.name: f.planned for f in self.failures}
        for p in list(self.waiting):
            if p.needs in failed:
                self.waiting.remove(p)
                error = f"not run: it needs {failed[p.needs].title}"
                self.failures.append(Failure(planned=p, error=error, log_file=None))
            elif len(self.running) < self.parallel and self._is_ready(p):
                self.waiting.remove(p)
                self.running.append(self._start(p))

    def _is_ready(self, p: Runnable) -> bool:
        return p.needs is None or p.needs not in self.known or p.needs in self.done

    def _start(self, p: Runnable) -> _Running:
        log.info("started %s", p.title)
        log_file = p.path / "log.txt"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | dict.fromkeys(THREADS, str(self.threads))
        with log_file.open("ab") as out:
            log_start = out.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; we ask the jobs to stop
            )
        stdin = _pipe(process)
        stdin.write(json.dumps(p.message()).encode() + b"\n")
        stdin.flush()
        return _Running(planned=p, process=process, log_file=log_file, log_start=log_start)

    def _collect(self) -> None:
        for r in list(self.running):
            if r.process.poll() is None:
                continue
            self.running.remove(r)
            _pipe(r.process).close()
            seconds = time.monotonic() - r.start
            if r.process.returncode == 0 and r.planned.is_finished:
                self.done.add(r.planned.name)
                self.took[r.planned.kind].append(seconds)
                self._keep_record(r.planned)
                self._report(f"finished {r.planned.title} in {format_seconds(seconds)}")
            else:
                error = _last_error(r)
                self.failures.append(Failure(planned=r.planned, error=error, log_file=r.log_file))
                self._report(f"FAILED {r.planned.title}: {error}")

    def _report(self, what: str) -> None:
        ended, left = len(self.done) + len(self.failures), self._seconds_left()
        estimate = f"; about {format_seconds(left)} left" if left >= 1 else ""
        log.info("[%d/%d] %s%s", ended, len(self.known), what, estimate)

    def _seconds_left(self) -> float:
        """Expect of a job what its kind took here, or else the mean of all kinds."""
        means = {kind: sum(s) / len(s) for kind, s in self.took.items()}
        if not means:
            return 0.0
        overall = sum(means.values()) / len(means)
        now = time.monotonic()
        left = sum(means.get(p.kind, overall) for p in self.waiting)
        for r in self.running:
            left += max(0.0, means.get(r.planned.kind, overall) - (now - r.start))
        return left / min(self.parallel, max(1, len(self.waiting) + len(self.running)))

    def _keep_record(self, p: Runnable) -> None:
        """Copy a record to the results; an older one of the same job gives way, and is kept."""
        if self.results is None:
            return
        target = self.results / f"{p.name}.json"
        data = p.record_as_asked()
        for other in sorted(self.results.glob("*.json")):
            if other != target and p.is_repeated_in(other):
                kept = set_aside(other)
                log.warning(
                    "%s gave way to %s, the same job under other settings, and is %s now; to show "
                    "both, name what changes with --setting",
                    other,
                    target,
                    kept,
                )
        if target.exists() and target.read_bytes() == data:
            return
        if target.exists() and loses_scores(target, data):
            log.warning(
                "%s had scores that were not asked for; it is %s now", target, set_aside(target)
            )
        write_bytes(target, data)

    def _stop_all(self) -> None:
        """Ask what still runs to save and stop; only after an interruption there is any."""
        for r in self.running:
            r.process.terminate()
        deadline = time.monotonic() + STOP_S
        for r in self.running:
            try:
                r.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                r.process.kill()
                r.process.wait()
            _pipe(r.process).close()


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None, "the job is sent through it"
    return process.stdin


def _last_error(r: _Running) -> str:
    """Return what a job said last, or its last word before it died silently.

    Only what this process wrote counts: the file also holds what earlier ones said.
    """
    code = r.process.returncode
    text = r.log_file.read_bytes()[r.log_start :].decode(errors="replace").strip()
    said = code > 0 and text.rfind(ERROR) > text.rfind("Traceback (most recent call last)")
    if said:  # a job that a signal ended had no time to say why
        return text[text.rfind(ERROR) + len(ERROR) :]
    last = text.splitlines()[-1] if text else "no word"
    return f"{last} (exit code {code})"
