"""ARKit faces on an imported head: what each unit should do to it, and the parameters that come closest.

Displacements are carried over by deformation transfer; the 100 expression coefficients and the jaw are found by bounded
and regularised least squares over the face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from emo_avatar.head.arkit import pose_jacobian, solve_bounded
from emo_avatar.head.contact import ContactPairs, lid_contacts
from emo_avatar.head.data import ARKIT_NAMES, N_EXPRESSION, HeadData
from emo_avatar.head.deformation import DeformationTransfer
from emo_avatar.head.model import HeadModel
from emo_avatar.head.registration import Registration
from emo_avatar.head.surface import TINY, Surface, SurfacePoints, face_normals

# A coefficient of one standard deviation is worth this much misfit, metres RMS over the face: enough to keep components
# that hardly move the face from being driven wild.
EXPRESSION_SIGMA = 0.00002
MAX_EXPRESSION = 8.0  # standard deviations, of any coefficient at full weight
POSE_STEPS = 4  # Gauss-Newton steps for units that turn the jaw
JAW_UNITS = ("jawOpen", "jawLeft", "jawRight", "jawForward")
CONTACT_WEIGHT = 0.2  # of a gap between closing lids against the same misfit of the whole face
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
MAX_JAW = 0.6  # radians
BODY_WEIGHT = 0.1  # of a place outside the face, whose motion matters less
FEATURE_WEIGHT = 8.0  # of a place on lids and lips: small areas that carry most of an expression
FEATURES = ("lids", "lips")
NOTHING = 1e-5  # metres RMS; a unit that moves the face less, such as tongueOut without a tongue, is left out


@dataclass(frozen=True)
class TransferReport:
    """How well the open head fits an imported one."""

    surface_distance: float  # metres, median distance of the registered surfaces
    arkit_error: float  # metres RMS over the face, of all units at full weight
    unit_errors: dict[str, float]  # metres RMS over the face, by unit
    unit_sizes: dict[str, float]  # metres RMS over the face, of the motion itself


@dataclass(frozen=True)
class Goals:
    """What the target should do in each ARKit unit at full weight."""

    displacements: np.ndarray  # [52, V, 3] metres, of the skin
    contacts: dict[int, ContactPairs]  # by unit, lids that close
    skin: np.ndarray  # [F, 3] the triangles that contacts refer to


def arkit_goals(source: HeadData, target: HeadData, registration: Registration, places: SurfacePoints) -> Goals:
    """The faces of ``source``, the open head, on ``target``; ``places`` are the target's vertices on the source."""
    person = HeadModel(source).for_identity(torch.as_tensor(registration.shape, dtype=torch.float32))
    with torch.no_grad():
        rest = person().vertices[0].numpy()
        moved = person(
            expression=torch.as_tensor(source.arkit_to_expr),
            jaw_pose=torch.as_tensor(source.arkit_to_pose[:, :3]),
            eyes_pose=torch.as_tensor(source.arkit_to_pose[:, 3:]),
        ).vertices.numpy()
    skin = target.faces[target.face_part == target.part_names.index("skin")]
    triangles = source.faces[source.part("skin")[source.faces].all(1)]
    at_faces = Surface(registration.source, triangles).closest(registration.target[skin].mean(1)).faces
    transfer = DeformationTransfer(rest, triangles[at_faces], target.v_template, skin, registration.rotation)
    to_target = registration.scale * registration.rotation
    on_skin = target.part("skin")[:, None]
    displacements = np.zeros((len(moved), target.n_vertices, 3))
    for i, vertices in enumerate(moved):
        motion = places.of(vertices - rest, source.faces) @ to_target.T
        displacements[i] = transfer(vertices, motion * on_skin) * on_skin
    surface = Surface(registration.target, skin)
    blinks = {ARKIT_NAMES.index(name) for name in BLINKS}
    found = {i: lid_contacts(source, rest, moved[i], registration.source, surface, to_target) for i in blinks}
    return Goals(displacements, {i: pairs for i, pairs in found.items() if pairs is not None}, skin)


def fitted(
    source: HeadData, target: HeadData, goals: Goals, registration: Registration
) -> tuple[HeadData, TransferReport]:
    """``target`` with its parameters for every unit, and how far off they are.

    The eyes turn as the open head's do: both look along z. The jaw turns only in the jaw's own units, so that others
    can be added without opening the mouth.
    """
    model = HeadModel(target).double()
    weight = _vertex_weights(target)  # [V], of squared norm 1
    jacobian = np.concatenate(
        [target.shapedirs[:, :, -N_EXPRESSION:], pose_jacobian(target)[:, :3].reshape(-1, 3, 3)], axis=2
    ).astype(float)  # [V, 3, 103] at rest
    columns = (jacobian * weight[:, None, None]).reshape(-1, N_EXPRESSION + 3)
    ridge = np.concatenate([np.full(N_EXPRESSION, EXPRESSION_SIGMA**2), np.full(3, TINY)])
    gram = columns.T @ columns + np.diag(ridge)
    turns_jaw = np.isin(ARKIT_NAMES, JAW_UNITS)
    limits = np.full((len(ARKIT_NAMES), N_EXPRESSION + 3), MAX_EXPRESSION)
    limits[:, N_EXPRESSION:] = np.where(turns_jaw, MAX_JAW, 0.0)[:, None]

    wanted = goals.displacements * weight[:, None]
    solution = np.zeros((len(wanted), N_EXPRESSION + 3))
    eyes = source.arkit_to_pose[:, 3:].astype(float)
    for _ in range(POSE_STEPS):
        # Gauss-Newton with the Jacobian at rest: what the model does beyond its linear part is taken off the goal.
        beyond_linear = _displacements(model, solution, eyes) * weight[:, None]
        beyond_linear -= (solution @ columns.T).reshape(beyond_linear.shape)
        towards = (wanted - beyond_linear).reshape(len(wanted), -1) @ columns
        solution = solve_bounded(gram, towards, -limits, limits)
    for i, pairs in goals.contacts.items():
        motion = pairs.closing_motion(target.v_template, goals.skin)  # [P, 3]
        way = np.maximum(np.linalg.norm(motion, axis=1), TINY)
        # Only the way that remains counts, not where along the lids the pairs meet.
        touch = np.einsum("pc,pcn->pn", motion / way[:, None], pairs.between(jacobian, goals.skin))
        share = CONTACT_WEIGHT / len(way)
        solution[i] = solve_bounded(
            gram + share * touch.T @ touch, towards[i : i + 1] + share * way @ touch, -limits[i], limits[i]
        )

    sizes = np.sqrt((wanted**2).sum((1, 2)))
    solution[sizes < NOTHING] = 0
    residual = (_displacements(model, solution, eyes) - goals.displacements) * weight[:, None]
    errors = np.sqrt((residual**2).sum((1, 2)))
    report = TransferReport(
        surface_distance=registration.distance,
        arkit_error=float(np.sqrt((errors**2).mean())),
        unit_errors=dict(zip(ARKIT_NAMES, errors.tolist(), strict=True)),
        unit_sizes=dict(zip(ARKIT_NAMES, sizes.tolist(), strict=True)),
    )
    head = replace(
        target,
        arkit_to_expr=solution[:, :N_EXPRESSION].astype(np.float32),
        arkit_to_pose=np.concatenate([solution[:, N_EXPRESSION:], eyes], axis=1).astype(np.float32),
        arkit_transfer_error=report.arkit_error,
    )
    return head, report


def _displacements(model: HeadModel, parameters: np.ndarray, eyes: np.ndarray) -> np.ndarray:  # [N, 103] -> [N, V, 3]
    """What expression and jaw, with the eyes' pose, do to the vertices."""
    with torch.no_grad():
        moved = model(
            expression=torch.as_tensor(parameters[:, :N_EXPRESSION]),
            jaw_pose=torch.as_tensor(parameters[:, N_EXPRESSION:]),
            eyes_pose=torch.as_tensor(eyes),
        ).vertices
        return (moved - model().vertices).numpy()


def _vertex_weights(target: HeadData) -> np.ndarray:  # [V]
    """Weights whose squares are the vertices' shares of the face; more on features, little beyond, none on eyeballs."""
    skin = target.faces[target.face_part == target.part_names.index("skin")]
    areas = np.linalg.norm(face_normals(target.v_template, skin), axis=1)
    share = np.bincount(skin.ravel(), np.repeat(areas, 3), minlength=target.n_vertices)
    features = np.any([target.regions[name] for name in FEATURES], axis=0)
    share *= np.where(features, FEATURE_WEIGHT, np.where(target.regions["face"], 1.0, BODY_WEIGHT))
    return np.sqrt(share / share.sum())
