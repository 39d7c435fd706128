"""A head in FLAME format for the person of a LAM package: what an animator poses beside the splats.

The package's own mesh has no joints, parts or texture coordinates. The open head, which has all of them, is laid onto
it (`head.registration`); its expressions come along, so that the same numbers mean the same on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from emo_avatar.avatar.lam import LamRig
from emo_avatar.head.data import JOINTS, N_SHAPE, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.head.registration import JAW_OPEN, Registration, register, umbrella
from emo_avatar.head.surface import Surface, vertex_normals
from emo_avatar.motion.flame_sequence import FlameSequence

# A third of what an imported FLAME head takes: a tenth of a millimetre is enough beside splats.
_SHAPE_STEPS, _STIFFNESS = 8, (100.0, 10.0, 1.0)
_MET = 0.002  # metres within which skin lies on the package's mesh
_FREE = 1e-6  # keeps parts regular that no skin is joined to
# Of FLAME's pose features, R - I of four joints row by row: the one that is -sin(angle) when the jaw turns about x.
_JAW_SINE = 9 * (JOINTS.index("jaw") - 1) + 5


def flame_head(
    rig: LamRig, name: str, progress: Callable[[float, str], None] = lambda fraction, what: None
) -> HeadData:
    """The open head in the shape of the rig's mesh. Raises UserError when that is no head."""
    source = rig.head
    target = _as_flame(rig, name)
    registration = register(source, target, progress, shape_steps=_SHAPE_STEPS, stiffness=_STIFFNESS)
    scale, turn = registration.scale, registration.rotation
    with torch.no_grad():
        model = HeadModel(source)
        shape = torch.as_tensor(registration.shape, dtype=torch.float32)[None]
        jaw = torch.tensor([[JAW_OPEN, 0.0, 0.0]])
        closed, opened = (
            scale * model(shape=shape, jaw_pose=pose).vertices[0].numpy().astype(float) @ turn.T
            for pose in (torch.zeros(1, 3), jaw)
        )
    skin = source.part("skin")
    shift = (registration.source - opened)[~skin].mean(axis=0)  # what is no skin was only placed
    template = closed + shift
    template[skin] += _correction(source, registration, target, template)[skin]
    dirs = np.concatenate([np.zeros((*source.v_template.shape, N_SHAPE)), source.shapedirs[:, :, N_SHAPE:]], axis=2)
    return replace(
        source,
        name=name,
        v_template=template.astype(np.float32),
        shapedirs=np.einsum("ab,vbk->vak", scale * turn, dirs).astype(np.float32),
        posedirs=np.einsum("ab,vbk->vak", scale * turn, source.posedirs).astype(np.float32),
    )


def _correction(
    source: HeadData, registration: Registration, target: HeadData, template: np.ndarray
) -> np.ndarray:  # [V, 3]
    """From the placed head to the target's neutral surface; smooth over skin that the target has not."""
    outer = source.part("skin") & ~source.regions["mouth_bag"] & ~source.regions["eye_sockets"]
    skin_faces = target.faces[(target.vertex_part == 0)[target.faces].all(1)]
    index = np.flatnonzero(outer)
    normals = vertex_normals(registration.source, source.faces)[index]
    found = Surface(registration.target, skin_faces).closest(registration.source[index], normals)
    met = found.distance < _MET
    corners = skin_faces[found.faces[met]]  # places named with open jaws are the same with closed ones
    places = np.einsum("mb,mbc->mc", found.barycentric[met], target.v_template[corners].astype(float))
    known = index[met]
    correction = np.zeros_like(template)
    correction[known] = places - template[known]
    unknown = np.setdiff1d(np.arange(len(template)), known)
    laplacian = umbrella(source.faces, len(template))[unknown]
    pull = sparse.identity(len(template)).tocsr()[unknown][:, unknown] * _FREE
    right = -laplacian[:, known] @ correction[known]
    correction[unknown] = spsolve((laplacian[:, unknown] + pull).tocsc(), right)
    return correction


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
