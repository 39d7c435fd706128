"""What the routes share: the engine, the jobs, the avatars, the log."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from emo_avatar import __version__
from emo_avatar.server import PROTOCOL
from emo_avatar.server.engine import Engine, give_memory_back, yield_to_others
from emo_avatar.server.jobs import Jobs
from emo_avatar.server.log import LogRing
from emo_avatar.server.uploads import MB

if TYPE_CHECKING:
    from emo_avatar.server.avatars import Avatars


class Backend:
    """One for the whole life of the process."""

    def __init__(self, engine: Engine, log: LogRing, folder: Path, avatar_folder: Path | None = None) -> None:
        """``folder`` is private to the process; ``avatar_folder`` keeps avatars beyond its end."""
        self.engine, self.log, self.folder = engine, log, folder
        self._avatar_folder = avatar_folder
        self._avatars: Avatars | None = None
        self._lock = threading.Lock()
        self.jobs = Jobs(("make", "export"), self._prepare_lane, give_memory_back)
        self.started = time.monotonic()

    @property
    def avatars(self) -> Avatars:
        """Only to be asked for once the engine is ready."""
        from emo_avatar.server.avatars import Avatars

        with self._lock:
            if self._avatars is None:
                self._avatars = Avatars(self.engine.device, self._avatar_folder)
            return self._avatars

    def status(self) -> dict[str, Any]:
        failure = self.engine.failure
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "ready": self.engine.is_ready,
            "failure": None if failure is None else failure.error,
            "device": self.engine.device_facts,
            "avatars": self.avatars.ids() if self.engine.is_ready else [],
            "jobs": [job.summary() for job in self.jobs.all()],
            "memory_mb": round(psutil.Process(os.getpid()).memory_info().rss / MB),
            "uptime": round(time.monotonic() - self.started, 1),
        }

    def _prepare_lane(self) -> None:
        self.engine.wait()
        self.engine.prepare_thread()
        yield_to_others()
