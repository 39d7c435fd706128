"""The mesh that Blender shows: a person's head in FLAME format, and the texture that it wears."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.lam import LamRig
from emo_avatar.avatar.lam_head import flame_head
from emo_avatar.avatar.rig import FlameRig, Rig
from emo_avatar.errors import UserError
from emo_avatar.export.bake import bake_colours, texel_points, texture_image
from emo_avatar.export.inner_parts import inner_colours
from emo_avatar.export.pictures import Progress, to_uint8
from emo_avatar.head.data import ARKIT_NAMES, JOINTS, N_SHAPE, PARENTS, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.server.arrays import pack
from emo_avatar.server.avatars import HeldAvatar

# Pixels of the baked texture and of the pictures that it is baked from: in both, a face is about twice as large as in
# the portrait that an avatar is made of, so that more would show no more.
BAKED = 1024
_FLOATS = ("v_template", "posedirs", "J_regressor", "weights", "uv", "arkit_to_expr", "arkit_to_pose")
_INTEGERS = ("faces", "quads", "uv_faces", "uv_quads", "vertex_part", "face_part")


def prepare(held: HeldAvatar, progress: Progress) -> None:
    """Work out now what will be asked for next."""
    prepared = 0.6 if isinstance(held.avatar.rig, LamRig) else 0.0
    head_of(held, lambda fraction, doing: progress(prepared * fraction, doing))
    texture(held, lambda fraction, doing: progress(prepared + (1 - prepared) * fraction, doing))


def head_of(held: HeldAvatar, progress: Progress = lambda fraction, doing: None) -> HeadData:
    """The person's head; worked out once for a rig that has none of its own."""
    rig = held.avatar.rig
    if isinstance(rig, FlameRig):
        return rig.head
    if isinstance(rig, LamRig):
        return held.derived("head", lambda: flame_head(rig, held.avatar.name, progress))
    raise UserError("This kind of avatar has no head that can be shown as a mesh.")


def head_message(held: HeldAvatar) -> bytes:
    """The *head* of the protocol."""
    head = head_of(held)
    arrays = {name: getattr(head, name).astype(np.float32) for name in _FLOATS}
    arrays |= {name: getattr(head, name).astype(np.int32) for name in _INTEGERS}
    arrays["expression_dirs"] = head.shapedirs[:, :, N_SHAPE:].astype(np.float32)
    arrays |= {f"regions.{name}": mask.astype(np.uint8) for name, mask in head.regions.items()}
    document = {
        "name": held.avatar.name,
        "part_names": list(head.part_names),
        "joints": list(JOINTS),
        "parents": list(PARENTS),
        "arkit_names": list(ARKIT_NAMES),
    }
    return pack(arrays, document)


def texture_png(held: HeldAvatar, size: int) -> bytes:
    """The person's colours over the head's UVs, a square of ``size`` pixels."""
    image = Image.fromarray(texture(held)).resize((size, size), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def texture(held: HeldAvatar, progress: Progress = lambda fraction, doing: None) -> np.ndarray:
    """The person's colours ``[BAKED, BAKED, 3]`` uint8; baked once."""
    return held.derived("texture", lambda: _baked(held, progress))


def _baked(held: HeldAvatar, progress: Progress) -> np.ndarray:
    head, avatar = head_of(held), held.avatar
    if not len(head.uv):
        raise UserError("The avatar's head has no texture coordinates, and so no texture.")
    if avatar.rig.faces is not head.faces:
        avatar = replace(avatar, rig=_Wearing(avatar.rig, head))
    points, covered = texel_points(head.uv, head.uv_faces, BAKED)
    colours = inner_colours(bake_colours(avatar, points, BAKED, progress), points, head)
    return to_uint8(texture_image(colours, covered))


@dataclass(frozen=True)
class _Wearing:
    """A rig with another mesh on its Gaussians: a head in FLAME format, in the same driving space."""

    kind: ClassVar[str] = "wearing"

    rig: Rig
    head: HeadData

    @property
    def faces(self) -> np.ndarray:  # [F, 3]
        return self.head.faces

    def pose(self, canonical: Gaussians, sequence: FlameSequence, frame: int) -> Gaussians:
        return self.rig.pose(canonical, sequence, frame)

    def play(self, canonical: Gaussians, sequence: FlameSequence) -> Iterator[Gaussians]:
        return self.rig.play(canonical, sequence)

    def mesh(self, sequence: FlameSequence) -> np.ndarray:  # [T, V, 3]
        with torch.no_grad():
            return self._model(**{n: torch.from_numpy(getattr(sequence, n)) for n in FRAME_FIELDS}).vertices.numpy()

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return self.rig.pack()

    @classmethod
    def unpack(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_gaussians: int) -> Rig:
        raise NotImplementedError

    @cached_property
    def _model(self) -> HeadModel:
        return HeadModel(self.head)
