"""The log: on standard error, and its last lines for whoever reports a defect. No path of this computer is in it."""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import queue
import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import TextIO

KEPT_LINES = 200
FOLDER_PREFIX = "emo-avatar-serve-"  # of a process' private folder, in which each upload has one of its own
_WAITING_LINES = 1000  # for a reader of standard error that has stopped reading; later ones are dropped there
_POSIX_PATH = re.compile(r"(?<![\w.~…/:<-])/(?!v\d+/|docs\b|openapi\b)(?:[^\s/:'\"<>|]+/)+(?=[^\s/]|$)")
_UPLOAD = re.compile(rf"…[/\\]{FOLDER_PREFIX}[^/\\\s]*[/\\][^/\\\s]*[/\\]")  # before the name that the user knows
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:[\\/](?:[^\\/:*?\"<>|\r\n]+[\\/])*")


def masked(text: str) -> str:
    """The text with the folders of its absolute paths left out; files of the program keep their place in it."""
    text = _UPLOAD.sub("", _known_folders().sub("…", text))
    return _POSIX_PATH.sub("…/", _WINDOWS_PATH.sub("…/", text))


@functools.cache
def _known_folders() -> re.Pattern[str]:
    import emo_avatar

    packages = Path(emo_avatar.__file__).resolve().parents[1]
    libraries = {str(Path(place)) for place in sys.path if Path(place).name in ("site-packages", "dist-packages")}
    folders = {str(packages), *libraries, tempfile.gettempdir(), str(Path.home()), sys.prefix, sys.base_prefix}
    longest_first = sorted((folder for folder in folders if len(folder) > 3), key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(?![\w.-])")


class LogRing(logging.Handler):
    """Keeps the last lines, and passes them on to a stream without ever waiting for it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._waiting: queue.Queue[str] = queue.Queue(_WAITING_LINES)
        self._stream = stream
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def lines(self) -> list[str]:
        """The last ``KEPT_LINES`` lines, oldest first."""
        return list(self._lines)

    def emit(self, record: logging.LogRecord) -> None:
        for line in masked(self.format(record)).splitlines():
            self._lines.append(line)
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(line)

    def _write(self) -> None:
        while True:
            line = self._waiting.get()
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads it any more
                return


def start_log(stream: TextIO) -> LogRing:
    """Send every log record of the process, warnings included, to a new ring."""
    ring = LogRing(stream)
    logging.basicConfig(handlers=[ring], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    return ring
