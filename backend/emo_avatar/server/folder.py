"""The private temporary folder of a backend process. One that was killed leaves it; the next backend removes it.

Whoever lives holds a lock in its folder, which the system takes back at any end. Process numbers would not tell: two
containers may share a temporary folder, and to each the processes of the other are none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import filelock

from emo_avatar.server.log import FOLDER_PREFIX

_LOCK = "lock"
_SURELY_LEFT = 24 * 3600.0  # seconds without a change, after which a folder without a lock belongs to nobody


class PrivateFolder:
    """A new folder at ``path``, this process' own until `remove` or its end."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
        self._lock = filelock.FileLock(self.path / _LOCK)
        self._lock.acquire()

    def remove(self) -> None:
        self._lock.release()  # Windows keeps files that are open
        shutil.rmtree(self.path, ignore_errors=True)


def remove_left_behind() -> None:
    """Remove the folders of backends that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):  # another one removes it just now, or it is another user's
            if _is_left_behind(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left_behind(folder: Path) -> bool:
    if not (folder / _LOCK).exists():  # it is being made, or its maker was killed in between
        return time.time() - folder.stat().st_mtime > _SURELY_LEFT
    try:
        with filelock.FileLock(folder / _LOCK, timeout=0):
            return True
    except filelock.Timeout:
        return False
