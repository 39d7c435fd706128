"""The backend as a child process: spawn, its first line, its log, its end."""

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ..errors import AddonError
from .client import check_protocol

LOG_LINES = 200
REMEDY = "Set the backend up again, or choose another Python in the preferences."
_MAX_LINE = 1 << 16

# Runs its arguments as a command and ends with it, or, with all that this has started, when standard input closes.
_TIED = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def follow():
    os.read(0, 1)
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(os.getpid())])
    else:
        os.killpg(0, signal.SIGKILL)
threading.Thread(target=follow, daemon=True).start()
os._exit(child.wait() != 0)
"""


@dataclass(frozen=True)
class Greeting:
    """What the first line on standard output said."""

    version: str
    url: str
    token: str


class BackendProcess:
    """`command` running as a child whose life is tied to its standard input. `AddonError` when it cannot be started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._log: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._first: queue.SimpleQueue[str] = queue.SimpleQueue()
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment) if environment is not None else None,
                **own_group(),
            )
        except OSError as error:
            why = "it is not there" if isinstance(error, FileNotFoundError) else error.strerror or error
            raise AddonError(f"{command[0]} cannot be started: {why}. {REMEDY}") from error
        name = "Emo Avatar backend's output"
        threading.Thread(target=self._read_output, args=(self._child.stdout,), name=name, daemon=True).start()
        self._log_reader = threading.Thread(target=self._read_log, args=(self._child.stderr,), name=name, daemon=True)
        self._log_reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    @property
    def log(self) -> tuple[str, ...]:
        """The last lines of standard error."""
        return tuple(self._log)

    def greeting(self, deadline: float, given_up: Callable[[], bool] = lambda: False) -> Greeting:
        """Wait at most `deadline` seconds for the first line, or until nobody wants it any more.

        `AddonError` when it does not come or says nonsense.
        """
        end = time.monotonic() + deadline
        line = None
        while line is None:
            if time.monotonic() >= end or given_up():
                raise AddonError(f"The backend said nothing for {deadline:.0f} seconds after it was started.")
            with contextlib.suppress(queue.Empty):
                line = self._first.get(timeout=0.1)
        if not line:
            self._wait(2.0)
            why = self.end()
            if "No module named emo_avatar" in why:
                raise AddonError("That Python does not have the backend: choose one that has, or set the backend up.")
            raise AddonError(f"The backend ended at once: {why} {REMEDY}")
        try:
            said = json.loads(line)
            check_protocol(said["protocol"])
            host, port = said["host"], int(said["port"])
            host = f"[{host}]" if ":" in host else host
            token = str(said["token"])
            return Greeting(str(said["emo_avatar"]), f"http://{host}:{port}", token)
        except (ValueError, KeyError, TypeError):
            raise AddonError(f"What was started is not an Emo Avatar backend; it said {line[:60]!r}.") from None

    def stop(self, grace: float = 3.0) -> None:
        """End it and everything that it started: by closing its standard input, and after `grace` seconds by force."""
        with contextlib.suppress(OSError):
            if self._child.stdin is not None:
                self._child.stdin.close()
        if self._wait(grace) is None:
            self.kill()

    def kill(self) -> None:
        """End it and everything that it started, now."""
        kill_tree(self._child)

    def end(self) -> str:
        """Why it ended, in words; of one that gave up by itself also its last line, where a traceback says why."""
        code = self.exit_code
        words = ""
        if code is not None and code > 0:
            self._log_reader.join(2.0)  # it may not have come to the end yet
            words = next((line.strip() for line in reversed(self.log) if line.strip()), "")
        return f"{exit_reason(code)}." + (f" It said: {words[:200].rstrip('.')}." if words else "")

    def _wait(self, timeout: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout)
        return None

    def _read_output(self, stream: IO[bytes]) -> None:
        with stream:
            self._first.put(stream.readline(_MAX_LINE).decode("utf-8", "replace").strip())
            while stream.read(_MAX_LINE):  # nothing more should come; a full pipe would stop the backend
                pass

    def _read_log(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_MAX_LINE):
                self._log.append(line.decode("utf-8", "replace").rstrip())


def tied(command: Sequence[str]) -> list[str]:
    """`command`, which starts a Python, for a child in its `own_group` that ends when its standard input is closed.

    That happens also when this process is killed. Of the exit code is told only whether it is 0.
    """
    return [command[0], "-I", "-c", _TIED, *command]


def no_window() -> dict[str, Any]:
    """Arguments of `subprocess` for a child that opens no console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {}


def own_group() -> dict[str, Any]:
    """Arguments of `subprocess` for a child that opens no console and leads a process group of its own."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill_tree(child: "subprocess.Popen[bytes]") -> None:
    """End a child that leads a process group of its own, and all of its descendants, by force."""
    if child.poll() is None:
        if sys.platform == "win32":
            kill = ["taskkill", "/T", "/F", "/PID", str(child.pid)]
            subprocess.run(kill, capture_output=True, check=False, **no_window())
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5.0)


def exit_reason(code: int | None) -> str:
    """What an exit code says, in words."""
    if code is None:
        return "it still runs"
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return "it was killed, perhaps because memory ran out" if name == "SIGKILL" else f"it was ended by {name}"
    return f"exit code {code}"
