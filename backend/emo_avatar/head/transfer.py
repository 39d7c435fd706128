"""What an imported head lacks, carried over from the open head: ARKit mapping, landmarks and regions.

The open head is laid onto the other one (`registration`); what is known of its surface is then read off at the places
that correspond, and its ARKit faces are fitted (`arkit_fit`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.head.arkit_fit import TransferReport, arkit_goals, fitted
from emo_avatar.head.data import JOINTS, HeadData, LandmarkEmbedding
from emo_avatar.head.registration import Registration, register
from emo_avatar.head.surface import Surface, SurfacePoints, boundary_vertices, vertex_normals

MAX_DISTANCE = 0.02  # metres, median, beyond which the surfaces cannot be those of two heads
EYES = ("eye_left", "eye_right")


def transfer_from(
    source: HeadData, target: HeadData, progress: Callable[[float, str], None] = lambda fraction, what: None
) -> tuple[HeadData, TransferReport]:
    """``target`` with landmarks, regions and ARKit mapping of ``source``, the open head.

    Raises:
        UserError: the target is no head, or not placed as FLAME is.
    """
    registration = register(source, target, lambda fraction, what: progress(0.5 * fraction, what))
    if registration.distance > MAX_DISTANCE:
        raise UserError(
            f"{target.name} does not have the shape of a head: its surface is {registration.distance * 100:.1f} cm off."
        )
    progress(0.5, "carrying over regions and landmarks")
    places = _places_on_source(source, target, registration)
    target = replace(
        target,
        regions=_regions(source, target, places),
        landmarks478=_landmarks(source.landmarks478, source, target, registration),
        landmarks68=_landmarks(source.landmarks68, source, target, registration),
    )
    progress(0.6, "carrying over expressions")
    goals = arkit_goals(source, target, registration, places)
    progress(0.8, "fitting expressions")
    return fitted(source, target, goals, registration)


def _places_on_source(source: HeadData, target: HeadData, registration: Registration) -> SurfacePoints:
    """Where on the open head's skin each vertex of the target lies; eyeballs, which have no skin, anywhere."""
    on_skin = np.flatnonzero(source.part("skin")[source.faces].all(1))
    surface = Surface(registration.source, source.faces[on_skin])
    found = surface.closest(registration.target, vertex_normals(registration.target, target.faces))
    blind = surface.closest(registration.target)
    lost = ~np.isfinite(found.distance)
    return SurfacePoints(
        on_skin[np.where(lost, blind.faces, found.faces)],
        np.where(lost[:, None], blind.barycentric, found.barycentric),
        np.where(lost, blind.distance, found.distance),
    )


def _regions(source: HeadData, target: HeadData, places: SurfacePoints) -> dict[str, np.ndarray]:  # name -> [V] bool
    skin = target.part("skin")
    regions = {
        name: (places.of(mask.astype(float), source.faces) > 0.5) & skin for name, mask in source.regions.items()
    }
    # The collar is where the mesh ends below, which is at another height of the neck on every head.
    rim = boundary_vertices(target.faces[skin[target.faces].all(1)], target.n_vertices)
    neck_joint = target.J_regressor[JOINTS.index("neck")] @ target.v_template
    regions["collar"] = rim & (target.v_template[:, 1] < neck_joint[1])
    return regions


def _landmarks(
    landmarks: LandmarkEmbedding | None, source: HeadData, target: HeadData, registration: Registration
) -> LandmarkEmbedding | None:
    """The landmarks on the target: on its skin, or for the irises on its eyeballs."""
    if landmarks is None:
        return None
    corners = source.faces[landmarks.faces]  # [L, 3]
    points = np.einsum("lb,lbc->lc", landmarks.barycentric, registration.source[corners])
    normals = np.einsum("lb,lbc->lc", landmarks.barycentric, vertex_normals(registration.source, source.faces)[corners])
    faces = np.zeros(len(points), np.int32)
    barycentric = np.zeros((len(points), 3), np.float32)
    part_of_landmark = source.face_part[landmarks.faces]
    for part in ("skin", *EYES):
        of_part = np.isin(part_of_landmark, [i for i, name in enumerate(source.part_names) if _same_part(name, part)])
        on_target = np.flatnonzero(target.face_part == target.part_names.index(part))
        if not of_part.any() or not len(on_target):
            continue
        query = points[of_part]
        if part in EYES:
            query = _on_eyeball(query, source, target, registration, part)
        surface = Surface(registration.target, target.faces[on_target])
        found = surface.closest(query, None if part in EYES else normals[of_part])
        faces[of_part] = on_target[found.faces]
        barycentric[of_part] = found.barycentric
    return LandmarkEmbedding(faces, barycentric, landmarks.reliable)


def _same_part(source_name: str, part: str) -> bool:
    return source_name == part or (part == "skin" and source_name not in EYES)


def _on_eyeball(
    points: np.ndarray, source: HeadData, target: HeadData, registration: Registration, part: str
) -> np.ndarray:  # [L, 3] -> [L, 3]
    """Points of a source eyeball in the same direction and at the same relative distance from the target's centre."""
    ours, theirs = registration.source[source.part(part)], registration.target[target.part(part)]
    scale = np.linalg.norm(theirs - theirs.mean(0), axis=1).mean() / np.linalg.norm(ours - ours.mean(0), axis=1).mean()
    return theirs.mean(0) + scale * (points - ours.mean(0))
