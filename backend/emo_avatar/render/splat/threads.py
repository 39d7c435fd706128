"""Two or more threads on one frame: Python threads that run compiled kernels without the interpreter lock.

Work is claimed in small pieces from a shared counter, so a thread that loses its core to another process delays a
frame by one piece and not by its whole share. This needs none of Numba's threading layers, of which OpenMP spins
while it waits, workqueue must not be entered from two threads at once, and TBB is not everywhere.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.dispatcher import Dispatcher

from emo_avatar.render.splat.simd import Emitter, emitted


@emitted(returns=types.int64)
def claim(emit: Emitter, counter: ir.Value) -> ir.Value:
    """The next number from a counter of int64 that threads share: 0, 1, 2, ..."""
    return emit.builder.atomic_rmw("add", counter, emit.integer(1), "monotonic")


def new_counter() -> np.ndarray:  # [1] int64
    return np.zeros(1, np.int64)


_here = threading.local()


def kernel_threads() -> int:
    """How many threads share a kernel that the calling thread runs: as many as PyTorch uses, unless it was set."""
    import torch

    return getattr(_here, "count", None) or torch.get_num_threads()


def set_kernel_threads(count: int) -> None:
    """Set it for the calling thread alone.

    A process that computes in several threads at once gives PyTorch one thread each, whose OpenMP spins where cores are
    few, and kernels all cores.
    """
    _here.count = count


class _Job:
    """One task that several threads may join until it is closed."""

    def __init__(self, task: Callable[[], None]) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._closed = False
        self._joined = 0
        self._left: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def join(self) -> None:
        """Work on the task, unless it has been finished by then."""
        with self._lock:
            if self._closed:
                return
            self._joined += 1
        error: BaseException | None = None
        try:
            self._task()
        except BaseException as raised:  # handed to the thread that waits for the job
            error = raised
        self._left.put(error)

    def run(self) -> None:
        """Work on the task, and wait for those who joined. Helpers that have not begun by then are not waited for."""
        try:
            self._task()
        finally:
            with self._lock:
                self._closed = True
            errors = [self._left.get() for _ in range(self._joined)]
        for error in errors:
            if error is not None:
                raise error


_jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
_helpers = 0
_helpers_lock = threading.Lock()


def run_in_threads(task: Callable[[], None], threads: int) -> None:
    """Run ``task`` in this thread and ``threads - 1`` helpers; it must share out its work among its calls.

    May be called from several threads at once. Errors of a helper are raised here.
    """
    _start_helpers(threads - 1)
    job = _Job(task)
    for _ in range(threads - 1):
        _jobs.put(job)
    job.run()


def share_out(kernel: Dispatcher, *arguments: object, threads: int | None = None) -> None:
    """Run a compiled kernel, whose first argument is a counter to claim work from, in several threads.

    They are ``kernel_threads()`` unless told otherwise.
    """
    counter = new_counter()
    is_loaded = bool(kernel.overloads)  # if not, let one thread load or compile it
    run_in_threads(lambda: kernel(counter, *arguments), (threads or kernel_threads()) if is_loaded else 1)


def _start_helpers(count: int) -> None:
    global _helpers
    with _helpers_lock:
        for number in range(_helpers, count):
            threading.Thread(target=_help, name=f"splat-{number}", daemon=True).start()
        _helpers = max(_helpers, count)


def _help() -> None:
    while True:
        _jobs.get().join()


def _forget_helpers() -> None:
    """A forked child has none of its parent's threads."""
    global _jobs, _helpers, _helpers_lock
    _jobs, _helpers, _helpers_lock = queue.SimpleQueue(), 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
