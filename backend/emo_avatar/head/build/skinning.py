"""Joints, skinning weights and pose corrections, such that joint rotations reproduce ARKit's jaw and gaze targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

from emo_avatar.head.build.expression import EYE_LOOKS, ExpressionUnits, arkit_target
from emo_avatar.head.build.eyes import unit_eyeball
from emo_avatar.head.build.identity import IdentitySpace
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Assembly
from emo_avatar.head.data import ARKIT_NAMES, JOINTS

GLOBAL, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
JAW_OPEN = np.radians(20.7)  # pitch by which the jaw turns in ARKit's jawOpen target
JAW_SHIFT_LEVER = 0.066  # dm, sideways travel of the incisors in jawLeft
HINGE_FROM_MOUTH = np.array([0.0, -0.043, 0.019])  # dm, from MakeHuman's joint-mouth to the axis jawOpen turns about
HINGE_RADIUS = 0.2  # dm, within which the jaw's displacement is too small to derive weights from
STILL = 0.005  # dm, below which an expression unit is taken not to move a vertex
NECK_PIVOT = 0.35  # of the way from MakeHuman's neck joint to its head joint, where FLAME has its neck joint
EYES = {"Left": (LEFT_EYE, "helper-l-eye"), "Right": (RIGHT_EYE, "helper-r-eye")}


@dataclass(frozen=True)
class Rig:
    """FLAME's rig on the assembled head, and which pose each ARKit unit is."""

    J_regressor: np.ndarray  # [5, V]
    weights: np.ndarray  # [V, 5]
    posedirs: np.ndarray  # [V, 3, 36] metres
    arkit_to_pose: np.ndarray  # [52, 9] radians: jaw, left eye, right eye


def _pose_feature(joint: int, row: int, column: int) -> int:
    """Index of an element of ``R - I`` among the 36 pose features of joints 1 to 4."""
    return (joint - 1) * 9 + row * 3 + column


def _joint_regressor(
    goal: np.ndarray,  # [K, 3] the joint in the mean and K - 1 deviations from it
    surface: np.ndarray,  # [K, V, 3] the vertices in the same
    candidates: np.ndarray,  # [c] vertices that may carry the joint
) -> np.ndarray:  # [V]
    """Non-negative weights of vertices, summing to 1, whose mean follows the joint through all deviations."""
    sum_to_one = 1e2  # weight of that equation; metres elsewhere
    system = surface[:, candidates].transpose(0, 2, 1).reshape(-1, len(candidates))
    system = np.vstack([system, sum_to_one * np.ones(len(candidates))])
    solution, _ = nnls(system, np.append(goal.ravel(), sum_to_one), maxiter=5000)
    regressor = np.zeros(surface.shape[1])
    regressor[candidates] = solution / solution.sum()
    return regressor


def regress_joints(
    mh: MakeHuman, head: Assembly, identity: IdentitySpace, units: ExpressionUnits, collar: np.ndarray
) -> np.ndarray:
    """FLAME's five joints from vertices, ``[5, V]``. ``collar [c]``: the head's vertices on the collar loop."""
    n_deviations = 40  # components that move the joints visibly
    base = np.concatenate([identity.mean[None], identity.components[:, :, :n_deviations].transpose(2, 0, 1)])
    surface = np.stack([head.carrier @ b for b in base])

    def cube(name: str) -> np.ndarray:  # [K, 3]
        return base[:, mh.vertex_group(name)].mean(1)

    neck = (1 - NECK_PIVOT) * cube("joint-neck") + NECK_PIVOT * cube("joint-head")
    hinge = cube("joint-mouth")
    hinge[0] += identity.scale * HINGE_FROM_MOUTH
    # FLAME regresses joints after expression: vertices that expressions move would move the joints.
    still = head.carrier @ np.linalg.norm(units.displacement, axis=2).max(0) < STILL
    still = np.flatnonzero(still & head.of("skin"))
    regressor = np.zeros((len(JOINTS), surface.shape[1]))
    regressor[GLOBAL, collar] = 1 / len(collar)
    for joint, goal in ((NECK, neck), (JAW, hinge)):
        near = still[np.abs(surface[0, still, 1] - goal[0, 1]) < 0.03]
        regressor[joint] = _joint_regressor(goal, surface, near)
    for joint, name in ((LEFT_EYE, "eye_left"), (RIGHT_EYE, "eye_right")):
        regressor[joint, head.of(name)] = _affine_weights(unit_eyeball().vertices, np.zeros(3))
    return regressor


def _affine_weights(points: np.ndarray, goal: np.ndarray) -> np.ndarray:  # [n, 3], [3] -> [n]
    """The smallest weights, summing to 1, that average ``points`` to ``goal``."""
    return np.append(goal, 1.0) @ np.linalg.pinv(np.c_[points, np.ones(len(points))])


def _rig_weights(mh: MakeHuman) -> np.ndarray:  # -> [N, 5]
    """MakeHuman's bone weights gathered into FLAME's joints; lids belong to the neck, pose corrections move them."""
    weights = np.zeros((len(mh.vertices), len(JOINTS)))

    def chain(bone: str) -> list[str]:
        bones = [bone]
        while mh.bone_parents.get(bones[-1]):
            bones.append(mh.bone_parents[bones[-1]])
        return bones

    for bone, rows in mh.bone_weights.items():
        vertex, weight = rows[:, 0].astype(int), rows[:, 1]
        above = chain(bone)
        if "jaw" in above:
            weights[vertex, JAW] += weight
        elif bone == "neck01":  # FLAME's neck joint sits higher than this bone's head
            weights[vertex, GLOBAL] += (1 - NECK_PIVOT) * weight
            weights[vertex, NECK] += NECK_PIVOT * weight
        elif "neck01" in above:
            weights[vertex, NECK] += weight
        else:
            weights[vertex, GLOBAL] += weight
    total = weights.sum(1, keepdims=True)
    return np.where(total > 0, weights / np.maximum(total, 1e-9), np.eye(len(JOINTS))[NECK])


def _fitted_jaw_weights(
    vertices: np.ndarray,  # [V, 3] metres
    opened: np.ndarray,  # [V, 3] displacement of jawOpen, metres
    hinge: np.ndarray,  # [3]
    bone_weight: np.ndarray,  # [V] MakeHuman's weight of the jaw
    smooth: np.ndarray,  # [V, V] averaging over neighbours
) -> np.ndarray:  # [V]
    """How far each vertex follows the jaw: its jawOpen displacement projected on the rigid one.

    MakeHuman's own weights miss the target by 15 mm; near the hinge, where both displacements vanish, they are kept.
    """
    rigid = (vertices - hinge) @ (Rotation.from_rotvec([JAW_OPEN, 0, 0]).as_matrix() - np.eye(3)).T
    follow = np.clip((rigid * opened).sum(1) / np.maximum((rigid**2).sum(1), 1e-10), 0, 1)
    hinge_distance = np.linalg.norm((vertices - hinge)[:, 1:], axis=1)
    near = np.exp(-((hinge_distance / (0.1 * HINGE_RADIUS)) ** 2))
    weight = (1 - near) * follow + near * bone_weight * np.clip(4 * follow, 0, 1)
    for _ in range(2):
        weight = 0.5 * weight + 0.5 * (smooth @ weight)
    return weight


def _skinned(vertices: np.ndarray, pivot: np.ndarray, rotation: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Displacement by linear blend skinning of one joint."""
    return weight[:, None] * ((vertices - pivot) @ (rotation - np.eye(3)).T)


def _before_skinning(displacement: np.ndarray, rotation: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The correction in the rest pose that one joint's blend skinning turns into ``displacement``."""
    blended = np.eye(3) + weight[:, None, None] * (rotation - np.eye(3))
    return np.linalg.solve(blended, displacement[:, :, None])[:, :, 0]


def _eye_angles(mh: MakeHuman, name: str, helper: str) -> tuple[float, float]:
    """Pitch and yaw by which an eyeLook target turns MakeHuman's eye."""
    eye = mh.vertex_group(helper)
    before, after = mh.vertices[eye], mh.vertices[eye] + arkit_target(mh, name)[eye]
    matrix = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))[0].as_matrix()
    return float(np.arctan2(matrix[2, 1], matrix[2, 2])), float(np.arcsin(-matrix[2, 0]))


def build_rig(
    mh: MakeHuman,
    head: Assembly,
    identity: IdentitySpace,
    units: ExpressionUnits,
    collar: np.ndarray,
    neighbours: np.ndarray,  # [V, V] sparse, rows average over a vertex's neighbours
) -> Rig:
    """Joints, weights and pose corrections of the mean head."""
    regressor = regress_joints(mh, head, identity, units, collar)
    vertices = head.carrier @ identity.mean + identity.scale * head.offset
    joints = regressor @ vertices
    rigid = np.concatenate([np.full(len(p), p.rigid_joint is not None) for p in head.parts])

    def target(name: str) -> np.ndarray:  # [V, 3] metres
        return head.carrier @ (identity.scale * arkit_target(mh, name)) * ~rigid[:, None]

    bone = head.carrier @ _rig_weights(mh)
    jaw = _fitted_jaw_weights(vertices, target("jawOpen"), joints[JAW], bone[:, JAW], neighbours)
    jaw[head.of("tongue")] = 1.0
    others = bone[:, [GLOBAL, NECK]] / np.maximum(bone[:, [GLOBAL, NECK]].sum(1, keepdims=True), 1e-9)
    others[others.sum(1) == 0] = [0.0, 1.0]
    weights = np.zeros((len(vertices), len(JOINTS)))
    weights[:, [GLOBAL, NECK]] = (1 - jaw)[:, None] * others
    weights[:, JAW] = jaw
    for index, part in enumerate(head.parts):
        if part.rigid_joint is not None:
            weights[head.vertex_part == index] = np.eye(len(JOINTS))[part.rigid_joint]

    posedirs = np.zeros((len(vertices), 3, 36))
    to_pose = np.zeros((len(ARKIT_NAMES), 9))
    deforms = ~rigid & ~head.of("tongue")  # the tongue turns with the jaw as it is

    # jawOpen: what skinning misses, on sin(pitch).
    rotation = Rotation.from_rotvec([JAW_OPEN, 0, 0]).as_matrix()
    missed = target("jawOpen") - _skinned(vertices, joints[JAW], rotation, weights[:, JAW])
    correction = _before_skinning(missed, rotation, weights[:, JAW]) * deforms[:, None]
    posedirs[:, :, _pose_feature(JAW, 2, 1)] = correction / np.sin(JAW_OPEN)
    to_pose[ARKIT_NAMES.index("jawOpen"), 0] = JAW_OPEN

    # jawLeft and jawRight: their odd part on sin(yaw). Their even part lowers the chin by 5 mm, which is a little
    # jawOpen; on cos(yaw) - 1 it would grow with the square of the angle.
    incisors = vertices[head.of("lower_teeth"), 2].max()
    yaw = float(np.arctan2(identity.scale * JAW_SHIFT_LEVER, incisors - joints[JAW, 2]))
    corrections = []
    for name, angle in (("jawLeft", yaw), ("jawRight", -yaw)):
        rotation = Rotation.from_rotvec([0, angle, 0]).as_matrix()
        missed = target(name) - _skinned(vertices, joints[JAW], rotation, weights[:, JAW])
        corrections.append(_before_skinning(missed, rotation, weights[:, JAW]) * deforms[:, None])
        to_pose[ARKIT_NAMES.index(name), 1] = angle
    posedirs[:, :, _pose_feature(JAW, 0, 2)] = (corrections[0] - corrections[1]) / 2 / np.sin(yaw)

    # Gaze: lids follow the eye; each axis' two targets fix a sine and a cosine term.
    for side, (joint, helper) in EYES.items():
        column = 3 * (joint - JAW)
        for axis, ways, feature in ((0, ("Up", "Down"), (2, 1)), (1, ("In", "Out"), (0, 2))):
            names = [f"eyeLook{way}{side}" for way in ways]
            angles = np.array([_eye_angles(mh, name, helper)[axis] for name in names])
            lids = np.stack([target(name) * deforms[:, None] for name in names])  # [2, V, 3]
            terms = np.stack([np.sin(angles), np.cos(angles) - 1], 1)
            sine, cosine = np.tensordot(np.linalg.inv(terms), lids, 1)
            posedirs[:, :, _pose_feature(joint, *feature)] += sine
            diagonal = 1 if axis == 0 else 0
            posedirs[:, :, _pose_feature(joint, diagonal, diagonal)] += cosine
            to_pose[[ARKIT_NAMES.index(name) for name in names], column + axis] = angles
    assert set(EYE_LOOKS) <= {n for n, row in zip(ARKIT_NAMES, to_pose, strict=True) if row.any()}
    return Rig(regressor, weights, posedirs, to_pose)
