"""One worker thread to which the newest request is everything."""

import sys
import threading
import traceback
from collections.abc import Callable


class Latest:
    """Runs what it is given in one thread of its own; what is still waiting when something newer comes is dropped.

    A request that has begun goes on: whoever gives it checks in the end whether its answer is still wanted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Condition()
        self._waiting: Callable[[], object] | None = None
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, request: Callable[[], object]) -> None:
        """Take `request` up as soon as the one that runs is done. It is expected to handle its own
        exceptions: others are printed."""
        with self._lock:
            if self._closed:
                return
            self._waiting = request
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._lock.notify_all()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._lock:
            return not self._busy and self._waiting is None

    def close(self, timeout: float = 1.0) -> None:
        """Drop what waits and end the thread; waits at most `timeout` seconds for the request that runs."""
        with self._lock:
            self._closed, self._waiting = True, None
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed:
                    return
                request, self._waiting, self._busy = self._waiting, None, True
            try:
                if request is not None:
                    request()
            except Exception:
                traceback.print_exc(file=sys.stderr)
            finally:
                with self._lock:
                    self._busy = False
