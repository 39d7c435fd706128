"""FLAME in NumPy: joints, vertices, and the values that make Blender's bones and shape keys show the same face.

FLAME space throughout: metres, x to the subject's left, y up, z forward; rotations are axis-angle in radians. After Li
et al., "Learning a model of facial shape and expression from 4D scans" (2017): joints follow identity *and* expression.
"""

from dataclasses import dataclass

import numpy as np

from .head_file import HeadArrays

JOINTS = ("global", "neck", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 1, 1)
N_EXPRESSION, N_POSE = 100, 36
LARGEST_SHAPE_KEY = 10.0  # that Blender allows, either way


# The axes of each bone at rest, as columns: `global` and `neck` point up and their axes are FLAME's, the eyes point
# forward and the jaw to the chin. All have the same x axis, so that on every bone X nods, opens or looks down.
def _pitched(degrees: float) -> np.ndarray:  # [3, 3]
    """FLAME's axes turned about x until y points forward at 90 degrees."""
    c, s = np.round([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 15)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


BONE_AXES = np.stack([_pitched(angle) for angle in (0, 0, 130, 90, 90)])  # [5, 3, 3]

_STILL = 1e-6  # radians, or metres: what moves less does not move


@dataclass(frozen=True)
class Poses:
    """T frames of FLAME parameters: metres, axis-angle radians, FLAME axes; `eyes_pose` is left then right."""

    expression: np.ndarray  # [T, 100]
    jaw_pose: np.ndarray  # [T, 3]
    neck_pose: np.ndarray  # [T, 3]
    rotation: np.ndarray  # [T, 3] of the whole head
    translation: np.ndarray  # [T, 3]
    eyes_pose: np.ndarray  # [T, 6]

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def joints(self) -> np.ndarray:  # [T, 5, 3] float64
        """How each joint turns, in the order of `JOINTS`."""
        eyes = self.eyes_pose
        turns = [self.rotation, self.neck_pose, self.jaw_pose, eyes[:, :3], eyes[:, 3:]]
        return np.stack(turns, axis=1).astype(np.float64)


@dataclass(frozen=True)
class Kinematics:
    """Where a person's joints are."""

    joints: np.ndarray  # [5, 3] metres, of the face without expression
    joint_dirs: np.ndarray  # [5, 3, 100] metres for 1.0 of each expression component


@dataclass(frozen=True)
class RigValues:
    """What a frame handler copies into Blender, frame by frame."""

    shape_keys: np.ndarray  # [T, 136] float32: 100 of expression, then R - I of neck, jaw, left, right eye, row-major
    locations: np.ndarray  # [T, 5, 3] float32 metres, in the rest axes of each bone
    quaternions: np.ndarray  # [T, 5, 4] float32 wxyz, in the rest axes of each bone
    moves: np.ndarray  # [5] bool: the joints that move in some frame; the others are left to whoever poses by hand

    def __len__(self) -> int:
        return len(self.shape_keys)


def kinematics(head: HeadArrays) -> Kinematics:
    """The joints of a person whose identity is in the template."""
    return Kinematics(
        joints=head.J_regressor @ head.v_template,
        joint_dirs=np.tensordot(head.J_regressor, head.expression_dirs, 1),
    )


def rig_values(kinematics: Kinematics, poses: Poses) -> RigValues:
    """The values with which Blender's rig takes FLAME's pose.

    FLAME's joints move with the expression, Blender's bones stay at rest: turning by R about a joint that has moved by
    d is turning about its rest place and then moving by (I - R) d.
    """
    pose = poses.joints  # [T, 5, 3]
    change = rotation_matrices(pose) - np.eye(3)  # [T, 5, 3, 3] R - I
    moved = np.tensordot(poses.expression.astype(np.float64), kinematics.joint_dirs, (1, 2))  # [T, 5, 3]
    locations = -(change @ moved[..., None])[..., 0]
    locations[:, 0] += poses.translation
    correctives = change[:, 1:].reshape(len(pose), N_POSE)
    largest = np.maximum(np.abs(pose).max(axis=(0, 2), initial=0.0), np.abs(locations).max(axis=(0, 2), initial=0.0))
    return RigValues(
        shape_keys=np.concatenate([poses.expression, correctives], axis=1).astype(np.float32),
        locations=_in_bone_axes(locations).astype(np.float32),
        quaternions=quaternions(_in_bone_axes(pose)).astype(np.float32),
        moves=largest > _STILL,
    )


def joint_transforms(kinematics: Kinematics, poses: Poses) -> np.ndarray:  # [T, 5, 4, 4]
    """For each joint the transform that takes a point of the unposed head along with it."""
    turns = rotation_matrices(poses.joints)  # [T, 5, 3, 3]
    moved = np.tensordot(poses.expression.astype(np.float64), kinematics.joint_dirs, (1, 2))  # [T, 5, 3]
    joints = kinematics.joints + moved
    local = np.zeros((*turns.shape[:2], 4, 4))
    local[..., :3, :3] = turns
    local[..., :3, 3] = joints - (turns @ joints[..., None])[..., 0]
    local[:, 0, :3, 3] += poses.translation
    local[..., 3, 3] = 1.0
    world = local.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
    return world


def vertices(head: HeadArrays, poses: Poses) -> np.ndarray:  # [T, V, 3] float32
    """The posed head: blend shapes, pose correctives and linear blend skinning."""
    world = joint_transforms(kinematics(head), poses)  # [T, 5, 4, 4]
    turns = rotation_matrices(poses.joints[:, 1:])
    correctives = (turns - np.eye(3)).reshape(len(turns), N_POSE).astype(np.float32)
    frames = np.empty((len(turns), *head.v_template.shape), np.float32)
    for t, transforms in enumerate(world.astype(np.float32)):
        moved = head.expression_dirs @ poses.expression[t] + head.posedirs @ correctives[t]  # [V, 3]
        blended = np.tensordot(head.weights, transforms[:, :3], 1)  # [V, 3, 4]
        frames[t] = (blended[..., :3] @ (head.v_template + moved)[..., None])[..., 0] + blended[..., 3]
    return frames


def rotation_matrices(axis_angle: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3, 3] float64
    """Rodrigues' formula."""
    w, x, y, z = np.moveaxis(quaternions(np.asarray(axis_angle, np.float64)), -1, 0)
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=-2,
    )


def axis_angles(quaternions: np.ndarray) -> np.ndarray:  # [..., 4] wxyz in FLAME axes -> [..., 3]
    """The inverse of turning an axis-angle into a unit quaternion; angles up to pi."""
    q = np.asarray(quaternions, np.float64)
    q = np.where(q[..., :1] < 0, -q, q) / np.linalg.norm(q, axis=-1, keepdims=True)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def pose_of_bones(
    quaternions: np.ndarray,
) -> np.ndarray:  # [..., 5, 4] in bone rest axes -> [..., 5, 3] FLAME axis-angle
    """How much posed bones turn, as FLAME says it: the inverse of the quaternions of `rig_values`."""
    return np.einsum("jab,...jb->...ja", BONE_AXES, axis_angles(quaternions))


def _in_bone_axes(vectors: np.ndarray) -> np.ndarray:  # [T, 5, 3]
    return np.einsum("jab,tja->tjb", BONE_AXES, vectors)


def quaternions(axis_angle: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 4] wxyz
    """Unit quaternions of axis-angle rotations."""
    half = np.linalg.norm(axis_angle, axis=-1, keepdims=True) / 2
    return np.concatenate([np.cos(half), axis_angle * (np.sinc(half / np.pi) / 2)], axis=-1)
