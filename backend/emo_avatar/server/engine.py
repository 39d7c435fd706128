"""The heavy half of the process: libraries and models, loaded in the background, and the threads that use them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from emo_avatar.server.refusals import Refusal, refusal_of

if TYPE_CHECKING:
    import torch

PATIENCE = 20.0  # seconds that a request waits for a backend that is still starting
BRISK_THREADS, SLOW_THREADS = 4, 2
BACKGROUND_NICENESS = 5  # of jobs, on Linux

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """Loads what computing needs, and computes in threads of its own so that the event loop is always free.

    What an artist scrubs (`brisk`) never queues behind what takes seconds (`slow`).
    """

    device: torch.device

    def __init__(self, choose_device: Callable[[], torch.device]) -> None:
        self._choose_device = choose_device
        self._finished = threading.Event()
        self._failure: Refusal | None = None
        self._device_name = platform.processor() or platform.machine() or "processor"
        self._brisk = ThreadPoolExecutor(BRISK_THREADS, "brisk", self.prepare_thread)
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "slow", self.prepare_thread)

    def start(self) -> None:
        threading.Thread(target=self._load, name="loading", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        return self._finished.is_set() and self._failure is None

    @property
    def failure(self) -> Refusal | None:
        """Why the backend will never be ready."""
        return self._failure

    @property
    def device_facts(self) -> dict[str, str]:
        kind = self.device.type if self.is_ready else "cpu"
        return {"kind": kind, "name": self._device_name}

    def wait(self) -> None:
        """Block until everything is loaded. Raises the reason when it cannot be."""
        self._finished.wait()
        if self._failure is not None:
            raise self._failure

    async def brisk(self, work: Callable[[], T]) -> T:
        """Run what an artist waits for while dragging."""
        return await self._run(self._brisk, work)

    async def slow(self, work: Callable[[], T]) -> T:
        """Run what may take seconds."""
        return await self._run(self._slow, work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        until = time.monotonic() + PATIENCE
        while not self._finished.is_set():
            if time.monotonic() > until:
                raise Refusal("not_ready", "The backend is still starting; try again in a moment.")
            await asyncio.sleep(0.02)
        if self._failure is not None:
            raise self._failure
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except Exception as error:
            raise refusal_of(error) from error

    def prepare_thread(self) -> None:
        """Many threads compute at once here: OpenMP, which spins while it waits, would make them all wait."""
        self._finished.wait()
        if self._failure is None:
            import torch

            from emo_avatar.render.splat.threads import set_kernel_threads

            torch.set_num_threads(1)
            set_kernel_threads(self._threads)

    def _load(self) -> None:
        start = time.perf_counter()
        try:
            from emo_avatar.server.warm_up import warm_up_first, warm_up_rest

            self.device = self._choose_device()
            self._threads = _cores()
            self._device_name = _device_name(self.device)
            warm_up_first(self.device)
        except BaseException as error:  # told to whoever asks: the process stays to tell it
            self._failure = refusal_of(error)
            self._finished.set()
            return
        self._finished.set()
        _log.info("ready after %.1f s, on %s", time.perf_counter() - start, self._device_name)
        try:
            warm_up_rest()
        except Exception as error:  # it will be told when it is needed
            _log.warning("warming up: %s", refusal_of(error).sentence)


def yield_to_others() -> None:
    """Where threads have priorities of their own, let this one run when no other wants to."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)


def give_memory_back() -> None:
    """To the system, where the C library keeps what was freed: after a build, hundreds of megabytes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)


def _cores() -> int:
    import torch

    return torch.get_num_threads()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
