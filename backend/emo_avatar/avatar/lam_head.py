"""A head in FLAME format for the person of a LAM package: what an animator poses beside the splats.

The package's own mesh has no joints, parts or texture coordinates. The open head, which has all of them, is laid onto
it (`head.registration`); its expressions come along, so that the same numbers mean the same on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from emo_avatar.avatar.lam import LamRig
from emo_avatar.head.data import JOINTS, N_SHAPE, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.head.registration import JAW_OPEN, register
from emo_avatar.motion.flame_sequence import FlameSequence

# Of FLAME's pose features, R - I of four joints row by row: the one that is -sin(angle) when the jaw turns about x.
_JAW_SINE = 9 * (JOINTS.index("jaw") - 1) + 5


def flame_head(
    rig: LamRig, name: str, progress: Callable[[float, str], None] = lambda fraction, what: None
) -> HeadData:
    """The open head in the shape of the rig's mesh. Raises UserError when that is no head."""
    source = rig.head
    registration = register(source, _as_flame(rig, name), progress)
    scale, turn = registration.scale, registration.rotation
    with torch.no_grad():
        model = HeadModel(source)
        shape = torch.as_tensor(registration.shape, dtype=torch.float32)[None]
        jaw = torch.tensor([[JAW_OPEN, 0.0, 0.0]])
        closed, opened = model(shape=shape), model(shape=shape, jaw_pose=jaw)
        turned = torch.einsum("vj,jab->vab", model.weights, opened.joint_transforms[0, :, :3, :3]).numpy().astype(float)
    local = scale * opened.vertices[0].numpy().astype(float) @ turn.T
    carried = ~source.part("skin")  # moved by the similarity alone, which so tells its translation
    shift = (registration.source - local)[carried].mean(axis=0)
    # What the smooth displacement adds with the jaw open, in the frame that each vertex has with the jaw closed.
    added = _unturned(registration.source - local - shift, turn, turned)
    template = scale * closed.vertices[0].numpy().astype(float) @ turn.T + shift + added
    dirs = np.concatenate([np.zeros((*source.v_template.shape, N_SHAPE)), source.shapedirs[:, :, N_SHAPE:]], axis=2)
    return replace(
        source,
        name=name,
        v_template=template.astype(np.float32),
        shapedirs=np.einsum("ab,vbk->vak", scale * turn, dirs).astype(np.float32),
        posedirs=np.einsum("ab,vbk->vak", scale * turn, source.posedirs).astype(np.float32),
    )


def _unturned(offsets: np.ndarray, turn: np.ndarray, turned: np.ndarray) -> np.ndarray:  # [V, 3], [3, 3], [V, 3, 3]
    """Offsets of the open-jawed, placed head back in the placed head with a closed jaw."""
    return np.einsum("ab,vcb,dc,vd->va", turn, turned, turn, offsets)


def _as_flame(rig: LamRig, name: str) -> HeadData:
    """The mesh of the package as registration wants to see a head: it has eyes, and a jaw that opens."""
    v = len(rig.vertices)
    jaw_open = replace(FlameSequence.still(1), jaw_pose=np.array([[JAW_OPEN, 0.0, 0.0]]))
    neutral, opened = rig.vertices, rig.mesh(jaw_open)[0]
    posedirs = np.zeros((v, 3, 36), np.float32)
    posedirs[:, :, _JAW_SINE] = (opened - neutral) / -np.sin(JAW_OPEN)
    regressor = np.zeros((len(JOINTS), v), np.float32)
    part = np.zeros(v, np.int8)
    for side, joint in enumerate(("left_eye", "right_eye")):
        if len(rig.eyes) == 2:
            members = rig.eyes[side].members
            regressor[JOINTS.index(joint), members] = 1 / len(members)
            part[members] = 1 + side
    weights = np.zeros((v, len(JOINTS)), np.float32)
    weights[:, 0] = 1.0
    no_uv = np.zeros((0, 3), np.int32)
    return HeadData(
        name=name,
        v_template=neutral,
        shapedirs=np.zeros((v, 3, 400), np.float32),
        posedirs=posedirs,
        J_regressor=regressor,
        weights=weights,
        faces=rig.faces,
        quads=rig.faces[:, [0, 1, 2, 2]],
        uv=np.zeros((0, 2), np.float32),
        uv_faces=no_uv,
        uv_quads=no_uv,
        part_names=("skin", "eye_left", "eye_right"),
        vertex_part=part,
        face_part=part[rig.faces[:, 0]],
    )
