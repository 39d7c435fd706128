"""The one backend that Blender talks to: which it is, how it is, and how it comes back.

Everything that waits happens in the session's own thread. What is read here is a snapshot and never blocks.
"""

import enum
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import AddonError
from .client import BackendLost, BackendVersion, Client
from .process import REMEDY, BackendProcess

FIRST_LINE = 60.0  # seconds: a cold disk and a virus scanner may make the first start slow
LOADED = 120.0  # seconds without an answer while it loads its libraries, which may hold everything else up
HEARTBEAT = 2.0  # seconds between two
LOG_EVERY = 10.0  # seconds between two looks at the log of a backend that is not our child
LOST_AFTER = 10.0  # seconds without an answer afterwards


class State(enum.Enum):
    OFF = "off"  # not started, or stopped on purpose
    STARTING = "starting"  # the process is there, its first line is not
    LOADING = "loading"  # it answers, and loads its libraries
    READY = "ready"
    LOST = "lost"  # it runs or ran, and does not answer: hung, or the network is gone; heartbeats go on
    FAILED = "failed"  # it could not be started, ended by itself, or refuses us
    OUTDATED = "outdated"  # it speaks another version of the protocol


@dataclass(frozen=True)
class Spawned:
    """A backend of our own: `emo-avatar serve` of this Python, as a child process."""

    python: Path
    device: str = "auto"  # "auto", "cpu", "cuda"
    isolated: bool = True  # without the user's PYTHONPATH and site packages
    cache: Path | None = None  # where a backend of ours keeps model files; others use the user's cache folder

    def command(self) -> list[str]:
        flags = ["-I"] if self.isolated else []
        return [str(self.python), *flags, "-m", "emo_avatar", "serve", "--port", "0", "--device", self.device]

    def environment(self) -> dict[str, str]:
        """Without what Blender's own Python may have been given."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "__PYVENV_LAUNCHER__")}
        own = own_folders(self.python, self.cache) if self.cache is not None else {}
        return kept | {"PYTHONSAFEPATH": "1"} | own


def own_folders(python: Path, cache: Path) -> dict[str, str]:
    """Environment variables that keep what a backend of ours writes, model files and compiled code, in its folders."""
    return {"EMO_AVATAR_CACHE": str(cache), "NUMBA_CACHE_DIR": str(python.parents[1] / "kernels")}


@dataclass(frozen=True)
class Remote:
    """A backend that somebody else has started."""

    url: str
    token: str = field(repr=False)


Location = Spawned | Remote


@dataclass(frozen=True)
class Health:
    """How the backend is. `sentence` says it to the user; `status` is the last answer of `/v1/status`."""

    state: State = State.OFF
    sentence: str = "The backend is off."
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether waiting helps."""
        return self.state in (State.STARTING, State.LOADING)


class Session:
    """Starts, watches and restarts the backend at a `Location`.

    `listeners` are called, in whatever thread it happens, when `health` has changed.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[Health], object]] = []
        self._lock = threading.Lock()
        self._watch: _Watch | None = None

    @property
    def health(self) -> Health:
        watch = self._watch
        return watch.health if watch is not None else Health()

    @property
    def location(self) -> Location | None:
        watch = self._watch
        return watch.location if watch is not None else None

    @property
    def log(self) -> tuple[str, ...]:
        """The backend's last 200 lines."""
        watch = self._watch
        return watch.log if watch is not None else ()

    @property
    def client(self) -> Client:
        """The client of a backend that is ready. `AddonError`, saying how it is, when it is not."""
        watch = self._watch
        if watch is None or watch.health.state is not State.READY or watch.client is None:
            raise AddonError(self.health.sentence)
        return watch.client

    def start(self, location: Location) -> None:
        """Leave whatever was there and go for `location`. Returns at once."""
        with self._lock:
            old, self._watch = self._watch, None
            self._watch = _Watch(location, old, self._changed)
            self._watch.start()

    def restart(self) -> None:
        """The same location afresh: a child process is ended and started anew. Returns at once."""
        location = self.location
        if location is None:
            raise AddonError("There is no backend to restart.")
        self.start(location)

    def stop(self, timeout: float = 0.0) -> None:
        """End it. Waits at most `timeout` seconds for that; the ending goes on without us."""
        with self._lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.leave()
            watch.join(timeout)
            self._changed(Health())

    def wait_ready(self, timeout: float, cancelled: Callable[[], bool] = lambda: False) -> Client:
        """For worker threads and background mode: the client, as soon as the backend is ready. `AddonError` when it
        fails, is not started, or does not get ready in `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.health.busy and time.monotonic() < end and not cancelled():
            time.sleep(0.05)
        return self.client

    def _changed(self, health: Health) -> None:
        for listener in tuple(self.listeners):
            listener(health)


class _Watch(threading.Thread):
    """One backend from its start to its end."""

    def __init__(self, location: Location, before: "_Watch | None", changed: Callable[[Health], object]) -> None:
        super().__init__(name="Emo Avatar backend", daemon=True)
        self.location = location
        self.health = Health(State.STARTING, "The backend is starting.")
        self.client: Client | None = None
        self._process: BackendProcess | None = None
        self._remote_log: tuple[str, ...] = ()
        self._before = before
        self._changed = changed
        self._left = threading.Event()

    @property
    def log(self) -> tuple[str, ...]:
        return self._process.log if self._process is not None else self._remote_log

    def leave(self) -> None:
        self._left.set()

    def run(self) -> None:
        if self._before is not None:
            self._before.leave()
            self._before.join(10.0)
            self._before = None
        try:
            self._changed(self.health)
            self._open()
            self._beat()
        except BackendVersion as error:
            self._say(State.OUTDATED, str(error))
        except AddonError as error:
            self._say(State.FAILED, str(error))
        except Exception as error:
            self._say(State.FAILED, f"The backend could not be watched ({type(error).__name__}: {error}).")
        finally:
            if self._process is not None:
                self._process.stop(grace=3.0 if self.health.state is State.READY else 0.5)

    def _open(self) -> None:
        if isinstance(self.location, Remote):
            self.client = Client(self.location.url, self.location.token)
        else:
            self._process = BackendProcess(self.location.command(), self.location.environment())
            greeting = self._process.greeting(FIRST_LINE, self._left.is_set)
            self.client = Client(greeting.url, greeting.token)

    def _beat(self) -> None:
        """Heartbeats until we leave, or until the process has ended."""
        assert self.client is not None
        log_read = 0.0
        answered, greeted, loaded = time.monotonic(), False, self._process is None
        while not self._left.is_set():
            if self._process is not None and self._process.exit_code is not None:
                remedy = "Restart it." if loaded else f"Restart it. {REMEDY}"
                raise AddonError(f"The backend ended by itself: {self._process.end()} {remedy}")
            try:
                if not greeted:
                    self.client.hello()
                    greeted = True
                status = self.client.status()
                if self._process is None and time.monotonic() - log_read > LOG_EVERY:
                    self._remote_log, log_read = tuple(self.client.log()), time.monotonic()
            except BackendLost as error:
                patience = LOST_AFTER if loaded else LOADED
                if time.monotonic() - answered > patience or (self._process is None and not greeted):
                    greeted = False  # another one may answer there the next time
                    self._say(State.LOST, f"{error} It may be busy, hung or gone: wait, or restart it.")
            else:
                answered = time.monotonic()
                if isinstance(failure := status.get("failure"), dict):
                    raise AddonError(f"The backend cannot work: {failure.get('sentence', 'it does not say why')}")
                if status.get("ready"):
                    loaded = True
                    self._say(State.READY, "The backend is ready.", status)
                else:
                    self._say(State.LOADING, "The backend is loading its libraries.", status)
            self._rest(0.2 if self.health.busy else HEARTBEAT)

    def _rest(self, seconds: float) -> None:
        """Wait for the next heartbeat, or until there is something to do at once."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._left.wait(0.1):
            if self._process is not None and self._process.exit_code is not None:
                return

    def _say(self, state: State, sentence: str, status: dict[str, Any] | None = None) -> None:
        before = self.health
        if self._left.is_set():
            return  # nobody listens to what was before
        self.health = replace(before, state=state, sentence=sentence, status=status or before.status)
        if before.state is not state or before.sentence != sentence:
            self._changed(self.health)


_current = Session()


def current() -> Session:
    """The session of this Blender."""
    return _current
