"""Evaluation of a FLAME-format head: blend shapes, pose correctives and linear blend skinning in PyTorch.

After Li et al., "Learning a model of facial shape and expression from 4D scans" (FLAME, 2017), and in agreement with
``smplx.FLAME`` to float precision.
"""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import JOINTS, N_EXPRESSION, N_SHAPE, PARENTS, HeadData

# Frames skinned at a time when no gradient is wanted: the intermediate [frames, V, 12] then stays in cache.
SKINNING_CHUNK = 32

SMALL_ANGLE_SQUARED = 1e-8  # radians squared, below which the Taylor series is exact in float32


class HeadOutput(NamedTuple):
    """A posed head, metres in world space."""

    vertices: torch.Tensor  # [B, V, 3]
    joints: torch.Tensor  # [B, 5, 3] posed joint positions, in the order of JOINTS
    joint_transforms: torch.Tensor  # [B, 5, 4, 4] take a point of the unposed head with its joint to its posed place


class HeadModel(nn.Module):
    """A head whose vertices follow identity, expression and pose; batched and differentiable on any device.

    Every argument of the call is optional and has a leading batch dimension, B or 1. Rotations are axis-angle in
    radians. The joints are regressed after shape, expression and static offset, as FLAME does.
    """

    v_template: torch.Tensor  # [V, 3]
    shape_dirs: torch.Tensor  # [V * 3, 300] a part of the data's own array: only a copy of it would take long
    motion_dirs: torch.Tensor  # [V * 3, 100 + 36] expression, then pose correctives
    weights: torch.Tensor  # [V, 5]
    J_template: torch.Tensor  # [5, 3] joints of v_template
    J_shape_dirs: torch.Tensor  # [15, 300]
    J_expression_dirs: torch.Tensor  # [15, 100]
    J_regressor: torch.Tensor  # [5, V]
    faces: torch.Tensor  # [F, 3] int64

    def __init__(self, data: HeadData) -> None:
        super().__init__()
        self.name = data.name
        n_vertices = data.n_vertices
        J_regressor = torch.tensor(data.J_regressor, dtype=torch.float32)
        v_template = torch.tensor(data.v_template, dtype=torch.float32)
        dirs = torch.as_tensor(data.shapedirs, dtype=torch.float32)  # [V, 3, 400]
        posedirs = torch.as_tensor(data.posedirs, dtype=torch.float32)
        J_dirs = (J_regressor @ dirs.reshape(n_vertices, -1)).view(3 * len(JOINTS), -1)  # [15, 400]
        dirs, posedirs = dirs.reshape(3 * n_vertices, -1), posedirs.reshape(3 * n_vertices, -1)

        self.register_buffer("v_template", v_template)
        self.register_buffer("shape_dirs", dirs[:, :N_SHAPE])
        self.register_buffer("motion_dirs", torch.cat([dirs[:, N_SHAPE:], posedirs], dim=1))
        self.register_buffer("weights", torch.tensor(data.weights, dtype=torch.float32))
        self.register_buffer("J_template", J_regressor @ v_template)
        self.register_buffer("J_shape_dirs", J_dirs[:, :N_SHAPE])
        self.register_buffer("J_expression_dirs", J_dirs[:, N_SHAPE:])
        self.register_buffer("J_regressor", J_regressor)
        self.register_buffer("faces", torch.as_tensor(data.faces.astype("int64")))

    def for_identity(
        self,
        shape: torch.Tensor | None = None,  # [300] or [1, 300]
        static_offset: torch.Tensor | None = None,  # [V, 3] or [1, V, 3] metres
    ) -> HeadModel:
        """A head whose template already is this person; pass neither ``shape`` nor ``static_offset`` to it."""
        vertices, joints = self._identity(
            None if shape is None else shape.reshape(1, N_SHAPE),
            None if static_offset is None else static_offset.reshape(1, -1, 3),
        )
        person = copy.copy(self)
        person._buffers = dict(self._buffers) | {"v_template": vertices[0], "J_template": joints[0]}
        return person

    def forward(
        self,
        *,
        shape: torch.Tensor | None = None,  # [B, 300]
        expression: torch.Tensor | None = None,  # [B, 100]
        rotation: torch.Tensor | None = None,  # [B, 3] of the whole head about the root joint
        neck_pose: torch.Tensor | None = None,  # [B, 3]
        jaw_pose: torch.Tensor | None = None,  # [B, 3]
        eyes_pose: torch.Tensor | None = None,  # [B, 6] left, right
        translation: torch.Tensor | None = None,  # [B, 3] metres
        static_offset: torch.Tensor | None = None,  # [B, V, 3] metres, added to the unposed head
    ) -> HeadOutput:
        given = (shape, expression, rotation, neck_pose, jaw_pose, eyes_pose, translation, static_offset)
        batch = max((len(x) for x in given if x is not None), default=1)
        zeros = self.v_template.new_zeros
        expression = zeros(1, N_EXPRESSION) if expression is None else expression
        translation = zeros(1, 3) if translation is None else translation
        poses = [zeros(1, 3) if p is None else p for p in (rotation, neck_pose, jaw_pose)]
        poses.append(zeros(1, 6) if eyes_pose is None else eyes_pose)
        pose = torch.cat([p.expand(batch, -1) for p in poses], dim=1).view(batch, len(JOINTS), 3)

        v_identity, J_identity = self._identity(shape, static_offset)
        joints_rest = J_identity + (expression @ self.J_expression_dirs.T).view(-1, len(JOINTS), 3)
        rotations = rotation_matrices(pose)  # [B, 5, 3, 3]
        pose_feature = (rotations[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)).flatten(1)  # [B, 36]
        motion = torch.cat([expression.expand(batch, -1), pose_feature], dim=1)  # [B, 136]
        joints, transforms = joint_transforms(rotations, joints_rest.expand(batch, -1, -1), translation)
        vertices = self._skinned(v_identity, motion, transforms)
        return HeadOutput(vertices, joints, transforms)

    def _identity(
        self, shape: torch.Tensor | None, static_offset: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:  # [1 or B, V, 3], [1 or B, 5, 3]
        """The unposed, expressionless head and its joints."""
        vertices, joints = self.v_template[None], self.J_template[None]
        if shape is not None:
            vertices = vertices + (shape @ self.shape_dirs.T).view(len(shape), -1, 3)
            joints = joints + (shape @ self.J_shape_dirs.T).view(len(shape), len(JOINTS), 3)
        if static_offset is not None:
            vertices = vertices + static_offset
            joints = joints + self.J_regressor @ static_offset
        return vertices, joints

    def _skinned(
        self,
        v_identity: torch.Tensor,  # [1 or B, V, 3]
        motion: torch.Tensor,  # [B, 136]
        transforms: torch.Tensor,  # [B, 5, 4, 4]
    ) -> torch.Tensor:  # [B, V, 3]
        def skin(v_identity: torch.Tensor, motion: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
            posed = v_identity + (motion @ self.motion_dirs.T).view(len(motion), -1, 3)
            blended = self.weights @ transforms[:, :, :3].flatten(2)  # [b, V, 12]
            blended = blended.view(len(motion), -1, 3, 4)
            return (blended[..., :3] @ posed[..., None]).squeeze(-1) + blended[..., 3]

        if torch.is_grad_enabled() and any(x.requires_grad for x in (v_identity, motion, transforms)):
            return skin(v_identity, motion, transforms)
        vertices = motion.new_empty(len(motion), len(self.v_template), 3)
        for start in range(0, len(motion), SKINNING_CHUNK):
            part = slice(start, start + SKINNING_CHUNK)
            v_part = v_identity if len(v_identity) == 1 else v_identity[part]
            vertices[part] = skin(v_part, motion[part], transforms[part])
        return vertices


@functools.lru_cache(maxsize=2)
def head_model(data: HeadData) -> HeadModel:
    """The model of a generic head, built once for everybody in the process: not to be changed or moved to a device."""
    return HeadModel(data)


def rotation_matrices(axis_angle: torch.Tensor) -> torch.Tensor:  # [..., 3] -> [..., 3, 3]
    """Rodrigues' formula, with finite gradients at the zero rotation."""
    angle2 = (axis_angle * axis_angle).sum(-1)
    small = angle2 < SMALL_ANGLE_SQUARED
    angle = torch.where(small, torch.ones_like(angle2), angle2).sqrt()  # the untaken branch must not divide by zero
    half_sinc = torch.sin(angle / 2) / (angle / 2)
    a = torch.where(small, 1 - angle2 / 6, torch.sin(angle) / angle)[..., None, None]
    b = torch.where(small, 0.5 - angle2 / 24, half_sinc * half_sinc / 2)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + a * skew + b * (skew @ skew)


def joint_transforms(
    rotations: torch.Tensor,  # [B, 5, 3, 3] each relative to the parent joint
    joints_rest: torch.Tensor,  # [B, 5, 3]
    translation: torch.Tensor,  # [1 or B, 3]
) -> tuple[torch.Tensor, torch.Tensor]:  # [B, 5, 3], [B, 5, 4, 4]
    """Posed joint positions, and the transforms that take points of the unposed head along with their joint."""
    world: list[torch.Tensor] = []
    joints: list[torch.Tensor] = []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            world.append(rotations[:, joint])
            joints.append(joints_rest[:, joint] + translation)
            continue
        bone = joints_rest[:, joint] - joints_rest[:, parent]
        world.append(world[parent] @ rotations[:, joint])
        joints.append(joints[parent] + (world[parent] @ bone[..., None]).squeeze(-1))
    R = torch.stack(world, dim=1)
    posed = torch.stack(joints, dim=1)
    offset = posed - (R @ joints_rest[..., None]).squeeze(-1)
    last_row = R.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*R.shape[:2], 1, 4)
    return posed, torch.cat([torch.cat([R, offset[..., None]], dim=-1), last_row], dim=-2)


def vertices_under_units(head: HeadData, model: HeadModel, weights: np.ndarray) -> np.ndarray:  # [52] -> [V, 3] metres
    """The head, of which ``model`` is the model, upright under ARKit ``weights``."""
    expression, jaw, eyes = (torch.from_numpy(x)[None] for x in flame_from_arkit(head, weights))
    with torch.inference_mode():
        return model(expression=expression, jaw_pose=jaw, eyes_pose=eyes).vertices[0].numpy()
