"""Long work: in a thread of its own, with progress and cancel, while Blender goes on.

`begin` gathers in the main thread what the work needs, and returns the work, a function that a thread runs; there, and
only there, the backend is talked to. `finished` takes the work's result over into Blender's data.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import bpy

from .. import mainloop, preferences
from ..errors import AddonError
from ..link import session
from ..link.client import BackendError, BackendLost, Client
from ..translations import sentence
from .boundary import EmoOperator, guarded

START_TIMEOUT = 180.0  # seconds in which the backend has to be ready


class Cancelled(Exception):
    """Raised inside of the work when the user has cancelled it."""


class Job:
    """One piece of work and how far it is. Readable in any thread."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.fraction = 0.0
        self.doing = ""
        self.done = False
        self._cancelled = threading.Event()
        self._result: Any = None
        self._failure: BaseException | None = None

    def start(self, work: "Work") -> None:
        """Do the work in a thread of its own. It knows nothing of the operator, which Blender may remove meanwhile."""
        threading.Thread(target=self._run, args=(work,), name=self.label, daemon=True).start()

    def outcome(self) -> Any:
        """What the work returned, once `done`, or its exception."""
        if self._failure is not None:
            raise self._failure
        return self._result

    def _run(self, work: "Work") -> None:
        try:
            self._result = work(self)
        except BackendLost as lost:
            self._failure = BackendLost(f"{lost} Restart the backend and try again.")
        except BaseException as failure:
            self._failure = failure
        self.done = True

    def cancel(self) -> None:
        """Have the work stop at its next report."""
        self._cancelled.set()
        self.doing = "cancelling"

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def report(self, fraction: float, doing: str) -> None:
        """Called by the work, often. Raises `Cancelled` when the user does not want it any more."""
        if self.cancelled:
            raise Cancelled
        self.fraction, self.doing = min(max(fraction, 0.0), 1.0), doing

    def client(self) -> Client:
        """The backend's client, once it is up. Only for the work."""
        self.report(self.fraction, "Waiting for the backend")
        client = session.current().wait_ready(START_TIMEOUT, lambda: self.cancelled)
        self.report(self.fraction, "")
        return client

    def follow(self, client: Client, job_id: str, start: float = 0.0, end: float = 1.0) -> Any:
        """Wait for a job of the backend, which is the part of this work between two fractions, and return its result.

        `BackendError` when it fails, `Cancelled` when it was cancelled, here or there.
        """
        event: dict[str, Any] = {}
        try:
            for event in client.events(job_id):
                self.report(start + (end - start) * float(event.get("fraction") or 0.0), str(event.get("doing") or ""))
        except Cancelled:
            with contextlib.suppress(AddonError):  # who is gone does not have to be told
                client.cancel(job_id)
            raise
        if event["state"] == "cancelled":
            raise Cancelled
        if event["state"] == "failed":
            error = event.get("error") or {}
            sentence = str(error.get("sentence", "The backend gave up without a reason."))
            raise BackendError(sentence, str(error.get("code", "internal")), report=str(error.get("report", "")))
        return event.get("result")


Work = Callable[[Job], Any]

running: list[Job] = []  # newest last; panels draw them


class JobOperator(EmoOperator):
    """Base of operators whose work is long. Implement `begin` and `finished`."""

    needs_backend = True
    _job: Job
    _timer: Any = None
    _drawn: tuple[int, str] | None = None

    def begin(self, context: Any) -> Work:
        """Main thread: read Blender's data, return the work. That does not touch this operator, which may be gone."""
        raise NotImplementedError

    def finished(self, context: Any, result: Any) -> set[str] | None:
        """Main thread: what the work returned becomes Blender data."""
        raise NotImplementedError

    def ended(self, context: Any) -> None:
        """Main thread: the work is over, well or not."""

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return preferences.backend_missing(context) if cls.needs_backend else None

    def run(self, context: Any) -> set[str] | None:
        self._job = Job(self.bl_label)
        work = self.begin(context)
        if self.needs_backend:
            preferences.start_backend(context)
        running.append(self._job)
        self._job.start(work)
        if bpy.app.background or context.window is None:
            while not mainloop.drain(lambda: self._job.done, timeout=1.0):
                pass
            return self._end(context)
        self._timer = context.window_manager.event_timer_add(0.1, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            self._job.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        state = round(100 * self._job.fraction), self._job.doing
        if state != self._drawn:
            self._drawn = state
            mainloop.redraw(status_bar=True)
            return {"PASS_THROUGH"}  # drawn first: what `finished` does may take a while
        if not self._job.done:
            return {"PASS_THROUGH"}
        return guarded(self, lambda: self._end(context))

    def cancel(self, context: Any) -> None:
        """Blender gives the operator up: its dialog was closed, another file is opened, or Blender quits."""
        if self._timer is not None:
            self._job.cancel()
            self._leave(context)

    def _end(self, context: Any) -> set[str] | None:
        self._leave(context)
        try:
            result = self._job.outcome()
        except Cancelled:
            self.say("{work}: cancelled", work=sentence(self.bl_label))
            return {"CANCELLED"}
        return self.finished(context, result)

    def _leave(self, context: Any) -> None:
        running.remove(self._job)
        self.ended(context)
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        mainloop.redraw(status_bar=True)


class EMOAVATAR_OT_cancel_job(EmoOperator):
    bl_idname = "emo_avatar.cancel_job"
    bl_label = "Cancel"
    bl_description = "Stop this work. What was there before stays as it is"
    bl_options = {"INTERNAL"}

    index: bpy.props.IntProperty()

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return None if running else "Nothing is being done"

    def run(self, context: Any) -> set[str] | None:
        if self.index < len(running):  # else it has ended since the button was drawn
            running[self.index].cancel()
        return None


CLASSES = (EMOAVATAR_OT_cancel_job,)
