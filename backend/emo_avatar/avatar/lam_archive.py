"""Finding the files of a LAM avatar package in a zip archive or a folder, without trusting either."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from emo_avatar.errors import UserError

SKIN, SPLATS = "skin.glb", "offset.ply"
_MEMBERS = (SKIN, SPLATS)
_MAX_BYTES = 256 * 2**20  # of one member: the largest file of a real package has 4 MB
_MAX_DEPTH = 4  # folders that may lie around the package's own
_GZIP = b"\x1f\x8b"


def read_members(path: Path) -> dict[str, bytes]:
    """The two files of the one package at ``path``, by the names above.

    A package may lie some folders deep, among resource forks and other files. Raises `UserError` when a file is
    missing, unreasonably large or damaged, and when there are several packages.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if path.is_dir():
        return _read_folder(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive, path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise UserError(f"{path.name} is not a readable zip archive: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _read_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = {entry.filename.replace("\\", "/"): entry for entry in archive.infolist() if not entry.is_dir()}
    members = {}
    for name, location in _locate(entries, path).items():
        entry = entries[location]
        if entry.flag_bits & 1:
            raise UserError(f"{path.name} is encrypted; unpack it and import the folder.")
        if entry.file_size > _MAX_BYTES:
            raise UserError(
                f"{name} in {path.name} would unpack to {entry.file_size:,} bytes; no avatar is that large."
            )
        with archive.open(entry) as stream:  # the size in the directory may lie, so the stream is bounded as well
            members[name] = _bounded(stream.read(_MAX_BYTES + 1), name)
    return members


def _read_folder(path: Path) -> dict[str, bytes]:
    entries = {}
    for depth in range(_MAX_DEPTH):
        for file in path.glob("*/" * depth + "*"):
            if file.is_file():
                entries[file.relative_to(path).as_posix()] = file
    members = {}
    for name, location in _locate(entries, path).items():
        with entries[location].open("rb") as stream:
            members[name] = _bounded(stream.read(_MAX_BYTES + 1), name)
    return members


def _locate(entries: Iterable[str], path: Path) -> dict[str, str]:
    """Where in the archive the files of its one package lie."""
    wanted = {name.lower(): name for name in _MEMBERS}
    packages: dict[str, dict[str, str]] = {}
    for entry in entries:
        location = PurePosixPath(entry)
        name = wanted.get(location.name.lower().removesuffix(".gz"))
        if name and "__MACOSX" not in location.parts and len(location.parts) <= _MAX_DEPTH:
            packages.setdefault(str(location.parent), {})[name] = entry
    complete = {folder: found for folder, found in packages.items() if all(name in found for name in _MEMBERS)}
    if not complete:
        closest = max(packages.values(), key=len, default={})
        missing = " and ".join(name for name in _MEMBERS if name not in closest)
        raise UserError(f"{path.name} is not a LAM avatar package: it holds no {missing}.")
    if len(complete) > 1:
        raise UserError(f"{path.name} holds several avatars ({', '.join(sorted(complete))}); import them one by one.")
    return next(iter(complete.values()))


def _bounded(data: bytes, name: str) -> bytes:
    """``data``, unpacked when it is gzip, and never more than the limit."""
    if data.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(data, _MAX_BYTES + 1)
        except zlib.error as error:
            raise UserError(f"{name} is damaged: it cannot be unpacked.") from error
    if len(data) > _MAX_BYTES:
        raise UserError(f"{name} is larger than {_MAX_BYTES:,} bytes; no avatar is that large.")
    return data
