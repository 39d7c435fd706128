"""Splats as PLY, a folder for each avatar: the backend poses and writes them."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AddonError
from ..link.client import Client
from ..ops.jobs import Job
from ..view import source
from .formats import FORMATS, estimated_bytes
from .takes import Take
from .targets import whole_folder


def check_room(client: Client, avatar_ids: Sequence[str], frames: int, paths: Sequence[Path]) -> None:
    """`AddonError` when the splats of so many frames do not fit on the disk."""
    for avatar_id, path in zip(avatar_ids, paths, strict=True):
        gaussians = int(description(client, avatar_id)["gaussians"])
        needed = estimated_bytes(FORMATS["PLY"], frames, gaussians=gaussians) * 2  # packed and unpacked
        free = shutil.disk_usage(next(parent for parent in path.parents if parent.exists())).free
        if free < needed:
            raise AddonError(
                f"{frames} frames of {gaussians:,} splats take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
                "free: choose fewer frames or another disk."
            )


def description(client: Client, avatar_id: str) -> dict[str, Any]:
    """What the backend says of an avatar, which it is given when it does not hold it."""
    if avatar_id not in client.status().get("avatars", ()):
        return client.put_avatar(avatar_id, source.avatar_file(avatar_id))
    return client.avatar(avatar_id)


def export(
    client: Client, job: Job, takes: Sequence[Take], paths: Sequence[Path], fps: float, start: float
) -> None:  # `start`: how much of the job is done already
    """Write `00001.ply`, ... for each avatar, in its own FLAME space: metres, y up."""
    share = (1 - start) / len(takes)
    for number, (take, path) in enumerate(zip(takes, paths, strict=True)):
        begin = start + share * number
        with whole_folder(path, ".ply") as folder:
            document = {"fps": fps, "avatar": take.avatar_id}
            arrays = take.poses() | {"emotions": take.emotions}
            archive = run(client, job, "ply", arrays, document, folder, begin, begin + share)
            unpack(archive, folder, ".ply", len(take.times))
            archive.unlink()


def run(
    client: Client,
    job: Job,
    kind: str,
    arrays: Mapping[str, np.ndarray],
    document: Mapping[str, Any],
    folder: Path,
    begin: float,
    end: float,
) -> Path:
    """One export by the backend; returns the file that it made, in `folder`."""
    files = source.avatar_files([document["avatar"], *document.get("others", ())])
    job_id = client.start_export(kind, arrays, document, files)
    job.follow(client, job_id, begin, end)
    made = folder / "from-backend.part"
    with made.open("wb") as file:
        client.job_file(job_id, file)
    with contextlib.suppress(AddonError):  # else the backend keeps its copy for some minutes
        client.cancel(job_id)
    return made


def unpack(archive: Path, folder: Path, suffix: str, frames: int) -> None:
    """The numbered files of an archive; `AddonError` when it holds anything else."""
    expected = [f"{number:05d}{suffix}" for number in range(1, frames + 1)]
    try:
        with zipfile.ZipFile(archive) as file:
            if sorted(file.namelist()) != expected:
                raise AddonError("The backend's archive does not hold the frames that were asked for.")
            for name in expected:
                file.extract(name, folder)
    except zipfile.BadZipFile as error:
        raise AddonError("The backend's archive of splats is damaged; export again.") from error
