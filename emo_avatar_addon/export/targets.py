"""Where exports go: checked before the work begins, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import AddonError


def check_target(path: Path, *, folder: bool, overwrite: bool, needed: int) -> None:
    """`AddonError` when an export cannot be written there, or would replace what the user has not said it may."""
    if not path.name or not path.is_absolute():
        raise AddonError("Say where to: choose a file name.")
    if path.exists() and path.is_dir() != folder:
        raise AddonError(f"{path.name} is {'a file' if folder else 'a folder'}: choose another name.")
    existing = path if path.is_dir() else path.parent
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not folder and existing != path.parent:
        raise AddonError(f"There is no folder {path.parent}: make it first, or choose another.")
    if not existing.is_dir():
        raise AddonError(f"{existing} is not a folder: choose another place.")
    if not _writable(existing):
        raise AddonError(f"Nothing can be written into {existing}: choose another place.")
    if not overwrite and (any(path.iterdir()) if path.is_dir() else path.exists()):
        what = f"The folder {path.name} is not empty" if folder else f"{path.name} exists"
        raise AddonError(f"{what}: choose another name, or turn on Overwrite.")
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise AddonError(
            f"The export takes some {_size(needed)}, and {_size(free)} are free there: choose another disk."
        )


def reserve(folder: Path, needed: int) -> None:
    """`AddonError` when so many bytes do not fit into a folder now, quotas and all. On a disk that fills up Blender's
    own exporters leave half a file, or end Blender."""
    full = AddonError(
        f"The export takes some {_size(needed)}, and there is less room in {folder}: choose another disk."
    )
    if shutil.disk_usage(folder).free < needed:
        raise full
    if hasattr(os, "posix_fallocate"):  # elsewhere free bytes are those that this user may have
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, needed)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise full from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, in an empty folder beside `path`; when the block succeeds, that file becomes `path`."""
    with _disk_errors(path):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
    try:
        with _disk_errors(path):
            yield folder / path.name
            (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def whole_folder(folder: Path, suffix: str) -> Iterator[Path]:
    """An empty folder to write to; when the block succeeds its files replace those with `suffix` in `folder`.

    Otherwise `folder` stays as it was. Other files in it are never touched.
    """
    with _disk_errors(folder):
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with _disk_errors(folder):
            yield temporary
            folder.mkdir(exist_ok=True)
            for stale in folder.glob(f"*{suffix}"):
                if stale.stem.isdigit():
                    stale.unlink()
            for file in sorted(temporary.iterdir()):
                file.replace(folder / file.name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AddonError(
            f"{path.name} could not be written: {error.strerror or error}. Nothing was left behind."
        ) from error


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _size(count: int) -> str:
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count >> 10} kB"
