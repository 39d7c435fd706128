"""Avatar files: ``*.emoavatar``, a zip of JSON, safetensors and a PNG. Never a pickle.

==========================  =========================================================================================
``avatar.json``             format, version, name, backbone, framing, rig kind and settings, photo camera and pose
``gaussians.safetensors``   means float32; quats, scales, opacities, sh float16; frames as the rig wants them
``rig.safetensors``         the arrays that the rig packs; of a FlameRig the person's head, so that it needs no other
``look.safetensors``        what the appearance path keeps of the portrait (absent where there is none)
``photo.png``               the aligned source crop, colour and matte as RGBA (absent when there was no photo)
==========================  =========================================================================================
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from PIL import Image
from safetensors import SafetensorError

from emo_avatar.avatar.avatar import Avatar, Framing, SourcePhoto
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.look import Look
from emo_avatar.avatar.rig import Rig
from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.render.camera import Camera

SUFFIX = ".emoavatar"
FORMAT, VERSION = "emo-avatar", 1
RIGS = {"flame": "emo_avatar.avatar.rig:FlameRig", "lam": "emo_avatar.avatar.lam:LamRig"}  # imported when needed
LOOKS = {"uv": "emo_avatar.backbones.uv.look:UVLook", "lam": "emo_avatar.backbones.lam.look:LamLook"}

_JSON, _GAUSSIANS, _RIG, _PHOTO = "avatar.json", "gaussians.safetensors", "rig.safetensors", "photo.png"
_LOOK = "look.safetensors"
# Bytes after decompression: some ten times what the largest avatars take, and what a zip bomb is stopped at.
_LIMITS = {_JSON: 1 << 20, _GAUSSIANS: 1 << 29, _RIG: 1 << 29, _LOOK: 1 << 27, _PHOTO: 1 << 26}
_MAX_PHOTO_PIXELS = 1 << 24
_HALF = ("quats", "scales", "opacities", "sh")  # of the Gaussians; invisible at 11 bits, the means would not be


def save_avatar(avatar: Avatar, path: Path | str) -> int:
    """Write an avatar; an existing file is replaced only when the new one is complete. Returns its size in bytes."""
    path = Path(path)
    settings, rig_arrays = avatar.rig.pack()
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": avatar.name,
        "backbone": avatar.backbone,
        "framing": {"target": avatar.framing.target.tolist(), "half_height": avatar.framing.half_height},
        "rig": {"kind": avatar.rig.kind, "settings": settings},
        "photo": None if avatar.photo is None else _photo_to_json(avatar.photo),
        "look": None if avatar.look is None else {"kind": avatar.look.kind},
    }
    members = {
        _JSON: json.dumps(document, indent=1).encode(),
        _GAUSSIANS: safetensors.numpy.save(_gaussians_to_arrays(avatar.gaussians)),
        _RIG: safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in rig_arrays.items()}),
    }
    if avatar.look is not None:
        members[_LOOK] = safetensors.numpy.save({n: np.ascontiguousarray(a) for n, a in avatar.look.pack().items()})
    if avatar.photo is not None:
        members[_PHOTO] = _png(avatar.photo)

    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path.stat().st_size


def load_avatar(path: Path | str) -> Avatar:
    """Read an avatar file, whoever wrote it. Raises UserError when it is not one, is damaged, or is too new."""
    path = Path(path)
    try:
        members = _read_members(path)
        document = json.loads(members[_JSON])
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise UserError(f"{path.name} is not an avatar file; `emo-avatar build` or `import` makes one.")
        if document["version"] != VERSION:
            raise UserError(
                f"{path.name} has format version {document['version']}, and this program reads {VERSION}; "
                "update emo-avatar or build the avatar again."
            )
        return _avatar(document, members)
    except FileNotFoundError:
        raise UserError(f"There is no avatar file at {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not an avatar file.") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied.") from None
    except zipfile.BadZipFile:
        raise UserError(f"{path.name} is not an avatar file, or only a part of one was written or copied.") from None
    except _DAMAGE as error:
        raise UserError(f"The avatar file {path.name} is damaged ({error}); build or import it again.") from error


# What the parsers below raise on bytes that are not what they should be.
_DAMAGE = (
    ValueError,  # of which bad JSON is one
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    SafetensorError,
    OSError,
    EOFError,
    NotImplementedError,  # zip compression methods that Python does not know
    RuntimeError,  # encrypted members
    zlib.error,
)


def _read_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = {}
        for name, limit in _LIMITS.items():
            if name not in archive.namelist():
                continue
            with archive.open(name) as member:  # what the directory says of sizes may be a lie: count while reading
                data = member.read(limit + 1)
            if len(data) > limit:
                raise ValueError(f"{name} is larger than an avatar's can be")
            members[name] = data
    if _JSON not in members:
        raise UserError(f"{path.name} is a zip but not an avatar file: it holds no {_JSON}.")
    return members


def _avatar(document: Mapping[str, Any], members: Mapping[str, bytes]) -> Avatar:
    gaussians = _gaussians_from_arrays(_arrays(members[_GAUSSIANS]))
    rig_class: type[Rig] = _known(RIGS, document["rig"]["kind"], "is rigged")
    rig = rig_class.unpack(document["rig"]["settings"], _arrays(members[_RIG]), len(gaussians))
    framing = Framing(
        _finite(document["framing"]["target"], (3,), "framing"),
        float(_finite(document["framing"]["half_height"], (), "framing")),
    )
    photo = _photo_from_json(document["photo"], members[_PHOTO]) if document["photo"] is not None else None
    look = None
    if document.get("look") is not None:  # files of older programs have none
        look_class: type[Look] = _known(LOOKS, document["look"]["kind"], "shows emotion")
        look = look_class.unpack(_arrays(members[_LOOK]), rig, photo)
    return Avatar(str(document["name"]), str(document["backbone"]), rig, gaussians, framing, photo, look)


def _known(classes: Mapping[str, str], kind: str, does: str) -> Any:
    if kind not in classes:
        raise UserError(f"The avatar {does} in a way this program does not know ({kind!r}); update emo-avatar.")
    module, name = classes[kind].split(":")
    return getattr(import_module(module), name)


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    arrays = safetensors.numpy.load(data)
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    return arrays


def _gaussians_to_arrays(gaussians: Gaussians) -> dict[str, np.ndarray]:
    names = ("means", *_HALF)
    arrays = {name: getattr(gaussians, name).detach().cpu().numpy() for name in names}
    return {n: np.ascontiguousarray(a, np.float16 if n in _HALF else np.float32) for n, a in arrays.items()}


def _gaussians_from_arrays(arrays: Mapping[str, np.ndarray]) -> Gaussians:
    tensor: Callable[[str], torch.Tensor] = lambda name: torch.from_numpy(arrays[name].astype(np.float32))  # noqa: E731
    return Gaussians(*(tensor(name) for name in ("means", *_HALF)))


def _photo_to_json(photo: SourcePhoto) -> dict[str, Any]:
    camera = photo.camera
    return {
        "viewmat": camera.viewmat.tolist(),
        "K": camera.K.tolist(),
        "size": [camera.width, camera.height],
        "pose": {name: getattr(photo.pose, name)[0].tolist() for name in FRAME_FIELDS},
    }


def _photo_from_json(document: Mapping[str, Any], png: bytes) -> SourcePhoto:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        if image.width * image.height > _MAX_PHOTO_PIXELS:
            raise ValueError("its photo is too large")
        rgba = np.asarray(image.convert("RGBA"))
    width, height = (int(n) for n in document["size"])
    camera = Camera(
        _finite(document["viewmat"], (4, 4), "camera"), _finite(document["K"], (3, 3), "camera"), width, height
    )
    frame: dict[str, Any] = {
        name: _finite(document["pose"][name], (width,), name)[None] for name, width in FRAME_FIELDS.items()
    }
    pose = dataclasses.replace(FlameSequence.still(1), **frame)
    return SourcePhoto(rgba[:, :, :3].copy(), rgba[:, :, 3].copy(), camera, pose)


def _png(photo: SourcePhoto) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([photo.image, photo.matte])).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _finite(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    array = np.asarray(value, np.float32)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"the {what} is not {shape or 'one'} finite numbers")
    return array
