"""Folders of numbered files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emo_avatar.errors import UserError

FRAME_PATTERN = "[0-9][0-9][0-9][0-9][0-9]"  # glob for the five digits that files of a sequence are numbered with


@contextlib.contextmanager
def whole_folder(folder: Path | str, pattern: str) -> Iterator[Path]:
    """A temporary folder; when the block succeeds, its files replace those in ``folder`` that match ``pattern``.

    An exception in the block, Ctrl-C included, leaves ``folder`` as it was. Other files in it are never touched. The
    folder is made when it does not exist.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the sequence.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        for stale in folder.glob(pattern):
            stale.unlink()
        for path in sorted(temporary.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
