"""Motion files as clients send them: a LAM motion folder comes as a zip, which is unpacked with care."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from emo_avatar.errors import UserError
from emo_avatar.motion.lam_motion import MAX_FILES, PARAMETER_FOLDER
from emo_avatar.motion.read import ZIP_SIGNATURE

MAX_UNPACKED = 1 << 30  # bytes
_BESIDE = ("canonical_flame_param.npz", "transforms.json")  # what counts beside the frames
_FRAME = re.compile(r"\d{1,9}\.npz")


def unpacked(path: Path) -> Path:
    """The file itself, or the folder that a zip with a LAM motion has been unpacked to, beside it.

    Raises:
        UserError: a zip that is damaged, encrypted, too large, or no motion.
    """
    with path.open("rb") as stream:
        if stream.read(len(ZIP_SIGNATURE)) != ZIP_SIGNATURE:
            return path
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if any(name.endswith(".npy") for name in names):
                return path  # an npz is a zip as well
            return _unpack(archive, _members(names), path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise UserError(f"{path.name} is not a zip archive that can be read: {error}.") from error


def _members(names: list[str]) -> dict[str, str]:
    """Of one motion: where its files go, by where they are in the archive."""
    members, roots = {}, set()
    for name in names:
        place = PurePosixPath(name.replace("\\", "/"))
        if "__MACOSX" in place.parts:
            continue
        if place.parent.name == PARAMETER_FOLDER and _FRAME.fullmatch(place.name):
            members[name] = f"{PARAMETER_FOLDER}/{place.name}"
            roots.add(place.parent.parent)
        elif place.name in _BESIDE:
            members[name] = place.name
    if not roots:
        raise UserError(f"The zip holds no motion: no file named as {PARAMETER_FOLDER}/00000.npz is in it.")
    if len(roots) > 1:
        raise UserError(f"The zip holds several motions ({', '.join(sorted(map(str, roots))[:4])}); send one of them.")
    (root,) = roots
    kept = {n: to for n, to in members.items() if to.startswith(PARAMETER_FOLDER) or _parent(n) == root}
    if len(kept) > MAX_FILES:
        raise UserError(f"The zip holds {len(kept)} frames; at most {MAX_FILES} are read.")
    return kept


def _parent(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/")).parent


def _unpack(archive: zipfile.ZipFile, members: dict[str, str], path: Path) -> Path:
    folder = path.parent / "unpacked" / (path.stem or "motion")
    (folder / PARAMETER_FOLDER).mkdir(parents=True)
    left = MAX_UNPACKED
    for name, place in members.items():
        with archive.open(name) as source, (folder / place).open("wb") as target:
            while chunk := source.read(1 << 20):  # what the directory says of sizes may be a lie: count while reading
                left -= len(chunk)
                if left < 0:
                    shutil.rmtree(folder)
                    raise UserError(
                        f"{path.name} unpacks to more than {MAX_UNPACKED >> 30} GB; no motion is that large."
                    )
                target.write(chunk)
    return folder
