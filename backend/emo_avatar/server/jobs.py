"""Long work in the background: queued, one after the other, with progress and cancel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_avatar.server.refusals import Refusal, refusal_of

KEPT_SECONDS = 600.0  # after its end
MAX_WAITING = 32
LOOK_EVERY, SPEAK_EVERY = 0.05, 2.0  # seconds: for changes, and even when there are none

_log = logging.getLogger(__name__)
Progress = Callable[[float, str], None]
Work = Callable[["Job", Progress], Any]  # returns the job's result, as JSON


class Cancelled(Exception):
    """Raised by a progress report in work that is no longer wanted."""


@dataclass(eq=False)
class Job:
    """One piece of work. Its fields are set by the worker and read by everyone, each in one step."""

    id: str
    kind: str
    work: Work
    discard: Callable[[], None]  # what the job was given, once it has ended
    state: str = "waiting"
    fraction: float = 0.0
    doing: str = "waiting"
    result: Any = None
    error: dict[str, str] | None = None
    file: Path | None = None  # what an export made
    ended: float | None = None  # time.monotonic()
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def has_ended(self) -> bool:
        return self.ended is not None

    def summary(self) -> dict[str, Any]:
        names = ("id", "kind", "state", "fraction", "doing")
        return {name: getattr(self, name) for name in names}

    def document(self) -> dict[str, Any]:
        return {**self.summary(), "result": self.result, "error": self.error}

    def report(self, fraction: float, doing: str) -> None:
        """Progress of the work; raises `Cancelled` when it is to stop."""
        if self.cancel.is_set():
            raise Cancelled
        self.fraction, self.doing = round(min(max(float(fraction), 0.0), 1.0), 4), doing


class Jobs:
    """All jobs of the process. Each lane works through its own queue in one thread."""

    def __init__(
        self,
        lanes: tuple[str, ...],
        prepare: Callable[[], None] = lambda: None,
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``prepare`` runs in each lane's thread before its first job, which fails when it raises; ``clean_up`` after
        every job.
        """
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._queues: dict[str, queue.SimpleQueue[Job]] = {lane: queue.SimpleQueue() for lane in lanes}
        self._prepare, self._clean_up = prepare, clean_up
        for lane, waiting in self._queues.items():
            threading.Thread(target=self._run_lane, args=(waiting,), name=f"jobs-{lane}", daemon=True).start()

    def add(self, lane: str, kind: str, work: Work, discard: Callable[[], None] = lambda: None) -> Job:
        """Queue a piece of work. Raises `Refusal` (``busy``) when too many are waiting."""
        job = Job(secrets.token_hex(8), kind, work, discard)
        with self._lock:
            self._forget_old()
            if sum(not other.has_ended for other in self._jobs.values()) >= MAX_WAITING:
                discard()
                raise Refusal("busy", "Too many jobs are waiting already; cancel some or try again later.")
            self._jobs[job.id] = job
        self._queues[lane].put(job)
        return job

    def find(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise Refusal("unknown_job", "The backend does not know this job any more; start it again.")
        return job

    def all(self) -> list[Job]:
        with self._lock:
            self._forget_old()
            return list(self._jobs.values())

    def cancel(self, job: Job) -> None:
        """Ask a job to stop; one that has not begun stops at once. One that has ended is forgotten, with its file."""
        job.cancel.set()
        with self._lock:
            never_begun = job.state == "waiting"
            if never_begun:
                job.state = "cancelled"
            if job.has_ended:
                self._jobs.pop(job.id, None)
                _remove(job.file)
        if never_begun:
            self._end(job, "cancelled", error=_cancelled().error)

    def cancel_all(self) -> None:
        for job in self.all():
            self.cancel(job)

    def _run_lane(self, waiting: queue.SimpleQueue[Job]) -> None:
        prepared = False
        while True:
            job = waiting.get()
            with self._lock:
                if job.state != "waiting":  # cancelled meanwhile
                    continue
                job.state, job.doing = "running", "starting"
            try:
                if not prepared:
                    self._prepare()
                    prepared = True
                result = job.work(job, job.report)
                job.report(1.0, "done")
                state, error = "done", None
            except BaseException as raised:  # whatever it is, it ends this job and not the lane
                stopped = isinstance(raised, Cancelled) or job.cancel.is_set()
                refusal = _cancelled() if stopped else refusal_of(raised)
                state, error, result = ("cancelled" if stopped else "failed"), refusal.error, None
            self._end(job, state, result, error)
            self._clean_up()

    def _end(self, job: Job, state: str, result: Any = None, error: dict[str, str] | None = None) -> None:
        job.discard()
        job.work = _nothing  # which may hold whole performances
        if state != "done":
            _remove(job.file)
        _log.info("job %s (%s) %s%s", job.id, job.kind, state, f": {error['sentence']}" if error else "")
        # Others look without a lock: whoever sees that it has ended sees how.
        job.result, job.error = result, error
        job.state = job.doing = state
        job.ended = time.monotonic()

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.ended is not None and now - job.ended > KEPT_SECONDS:
                del self._jobs[job.id]
                _remove(job.file)


async def events(job: Job) -> AsyncIterator[bytes]:
    """The job as a line of JSON whenever it changes, and now and then when it does not, until it has ended."""
    last, spoken = None, 0.0
    while True:
        ended = job.has_ended
        document = job.document()
        if document != last or time.monotonic() - spoken >= SPEAK_EVERY:
            last, spoken = document, time.monotonic()
            yield json.dumps(document).encode() + b"\n"
        if ended:
            return
        await asyncio.sleep(LOOK_EVERY)


def _nothing(job: Job, progress: Progress) -> None:
    pass


def _remove(file: Path | None) -> None:
    """As far as possible: Windows keeps a file that somebody is just fetching; it goes with the process' folder."""
    if file is not None:
        with contextlib.suppress(OSError):
            file.unlink()


def _cancelled() -> Refusal:
    return Refusal("cancelled", "The job was cancelled.")
