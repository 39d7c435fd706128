"""Where the detector's landmarks lie on a head: seen on renders of it and carried back to its triangles.

``embed_landmarks`` is called by the script that builds the open head, last, whenever the head's surface or topology
changes; it needs the regions ``lips`` and ``brows`` and the ARKit mapping. Imported heads get their embedding by
surface correspondence from the open head instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import HeadData, LandmarkEmbedding
from emo_avatar.head.model import HeadModel, vertices_under_units
from emo_avatar.head.surface import closest_points, vertex_normals
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.tracking.landmarks import detect_faces
from emo_avatar.tracking.topology import FACE_OVAL, IBUG68, IRISES, LIPS, MIRROR, N_LANDMARKS, index_mask

# Views and lights vary the detector's small errors so that they average out; beyond 35 degrees it guesses the far side.
YAWS, PITCHES = (-35.0, -20.0, -8.0, 0.0, 8.0, 20.0, 35.0), (-14.0, 0.0, 14.0)
LIGHTS = ((0.0, 0.5, 0.85), (0.6, 0.4, 0.7), (-0.6, 0.4, 0.7))  # towards the light, head frame
FRONTAL_YAW = 10.0  # the face oval follows the silhouette, so only near-frontal views say where it lies
SIZE, FOV, DISTANCE = 640, 18.0, 1.0  # px, degrees, metres: about half a millimetre per pixel
SNAP = 6.0  # px; how far off its own surface a landmark may fall and still be moved onto it
OPEN_MOUTH = 0.35  # jawOpen at which the lips are seen apart, so that upper and lower cannot be confused
MIN_FACING = 0.25  # cosine between surface normal and view below which a hit says little
RELIABLE_SPREAD = 0.004  # metres; median distance of the sightings from their median
IRIS_ANGLE, PUPIL_ANGLE = 0.49, 0.2  # radians at the centre of an eyeball of 12 mm radius

# Plain colours that the detector takes for a face.
SKIN, LIP, BROW, HIDDEN_SKIN = (0.84, 0.66, 0.57), (0.66, 0.36, 0.36), (0.26, 0.18, 0.13), (0.2, 0.08, 0.08)
SCLERA, IRIS, PUPIL = (0.93, 0.92, 0.9), (0.34, 0.22, 0.14), (0.04, 0.04, 0.04)
PART_COLOURS = {"lashes": (0.2, 0.14, 0.1), "upper_teeth": (0.88, 0.85, 0.8), "lower_teeth": (0.84, 0.8, 0.75)}
BACKGROUND, AMBIENT = 0.55, 0.45


@dataclass(frozen=True)
class _Sighting:
    """One landmark seen in one render."""

    landmark: int
    face: int
    barycentric: np.ndarray  # [3]


def embed_landmarks(head: HeadData) -> tuple[LandmarkEmbedding, LandmarkEmbedding]:
    """MediaPipe's 478 landmarks and the iBUG 68 on the triangles of ``head``, left and right mirrored.

    The head is drawn in plain colours from several sides under several lights, the detector is run on the pictures, and
    each landmark is carried along its pixel's ray to the surface it belongs to (lips, eyeballs, or skin). Its place
    is the geometric median over the pictures, taken on the head with its mouth open.

    Raises:
        ValueError: the head lacks what the drawing needs, or no face is detected on it.
    """
    if not {"lips", "brows"} <= set(head.regions):
        raise ValueError("embedding landmarks needs the regions 'lips' and 'brows'")
    closed, opened = head.v_template, vertices_under_units(head, HeadModel(head), arkit_weights(jawOpen=OPEN_MOUTH))
    colours = _vertex_colours(head)
    lips = index_mask(LIPS)
    sightings: list[_Sighting] = []
    for vertices, wanted in ((closed, ~lips), (opened, lips)):
        for camera, yaw in _cameras(head):
            sightings += _sightings(head, vertices, colours, camera, wanted & _trusted(yaw))
    positions, spread = _medians(head, opened, sightings)
    positions = (positions + positions[MIRROR] * (-1, 1, 1)) / 2
    spread = np.maximum(spread, spread[MIRROR])
    full = _embed(head, opened, positions, spread < RELIABLE_SPREAD)
    ibug = np.stack([positions[list(group)].mean(0) for group in IBUG68])
    ibug_reliable = np.array([full.reliable[list(group)].all() for group in IBUG68])
    return full, _embed(head, opened, ibug, ibug_reliable)


def _cameras(head: HeadData) -> Iterator[tuple[Camera, float]]:
    target = (head.J_regressor @ head.v_template)[3:].mean(0) - (0, 0.03, 0.05)  # between and below the eyes
    for yaw, pitch in itertools.product(YAWS, PITCHES):
        yield Camera.orbit(target, DISTANCE, yaw=yaw, pitch=pitch, fov=FOV, size=SIZE), yaw


def _trusted(yaw: float) -> np.ndarray:  # [478] bool
    """The landmarks that a view from this side may place."""
    return np.ones(N_LANDMARKS, bool) if abs(yaw) <= FRONTAL_YAW else ~index_mask(FACE_OVAL)


def _eye_parts(head: HeadData) -> list[int]:
    return [i for i, name in enumerate(head.part_names) if name.startswith("eye_")]


def _vertex_colours(head: HeadData) -> np.ndarray:  # [V, 3]
    colours = np.empty((head.n_vertices, 3), np.float32)
    colours[:] = SKIN
    seen = np.zeros(head.n_vertices, bool)
    for camera, _ in _cameras(head):
        face = rasterize_mesh(head.v_template, head.faces, camera).face
        seen[head.faces[np.unique(face[face >= 0])]] = True
    colours[~seen] = HIDDEN_SKIN  # mouth cavity, sockets: also the back of the head, which no view shows
    colours[head.regions["lips"]] = LIP
    colours[head.regions["brows"]] = BROW
    for name, colour in PART_COLOURS.items():
        colours[head.part(name)] = colour
    return colours


def _sightings(
    head: HeadData, vertices: np.ndarray, colours: np.ndarray, camera: Camera, wanted: np.ndarray
) -> Iterator[_Sighting]:
    """Detect on this view under every light and carry the wanted landmarks to the surface."""
    normals = vertex_normals(vertices, head.faces)
    fragments = rasterize_mesh(vertices, head.faces, camera)
    albedo = fragments.interpolate(colours, head.faces)
    position = fragments.interpolate(vertices, head.faces)
    for part in _eye_parts(head):
        own = fragments.covered & (head.face_part[fragments.face] == part)
        albedo[own] = _eye_colours(position[own], vertices[head.vertex_part == part].mean(0))
    normal = fragments.interpolate(normals, head.faces)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-9

    # Where each kind of landmark may land: pixels of its surface, each with the nearest one for those that miss it.
    eyes = np.isin(head.face_part, _eye_parts(head))
    lips = head.regions["lips"][head.faces].all(1)
    towards_camera = camera.position - position
    facing = (normal * towards_camera).sum(2) / np.linalg.norm(towards_camera, axis=2)
    skin = fragments.covered & (head.face_part[fragments.face] == 0)
    eyeballs = rasterize_mesh(vertices, head.faces, camera, eyes)  # irises reach under the lids
    surfaces = (
        (index_mask(IRISES), eyeballs, eyeballs.covered),
        (index_mask(LIPS), fragments, skin & lips[fragments.face]),
        (~index_mask(IRISES, LIPS), fragments, skin & (facing > MIN_FACING)),
    )
    nearest = [distance_transform_edt(~allowed, return_indices=True) for _, _, allowed in surfaces]
    for light in LIGHTS:
        towards = np.array(light) / np.linalg.norm(light)
        shade = AMBIENT + (1 - AMBIENT) * np.clip(normal @ towards, 0, 1)[..., None]
        picture = np.where(fragments.covered[..., None], albedo * shade, BACKGROUND)
        faces = detect_faces((np.clip(picture, 0, 1) * 255).astype(np.uint8))
        if not faces:
            continue
        pixel = np.floor(faces[0].points[:, :2]).astype(int)
        inside = ((pixel >= 0) & (pixel < SIZE)).all(1)
        for (kind, hit, _), (distance, index) in zip(surfaces, nearest, strict=True):
            for i in np.flatnonzero(kind & wanted & inside):
                x, y = pixel[i]
                if distance[y, x] <= SNAP:
                    row, column = index[:, y, x]
                    yield _Sighting(int(i), int(hit.face[row, column]), hit.barycentric[row, column])


def _eye_colours(points: np.ndarray, centre: np.ndarray) -> np.ndarray:  # [N, 3], [3] -> [N, 3]
    direction = points - centre
    angle = np.arccos(np.clip(direction[:, 2] / np.linalg.norm(direction, axis=1), -1, 1))[:, None]
    return np.where(angle < PUPIL_ANGLE, PUPIL, np.where(angle < IRIS_ANGLE, IRIS, SCLERA))


def _medians(
    head: HeadData, vertices: np.ndarray, sightings: list[_Sighting]
) -> tuple[np.ndarray, np.ndarray]:  # [478, 3] metres, [478] metres
    """Geometric median of every landmark's sightings on the given vertices, and their median distance from it."""
    by_landmark: list[list[np.ndarray]] = [[] for _ in range(N_LANDMARKS)]
    for s in sightings:
        by_landmark[s.landmark].append(s.barycentric @ vertices[head.faces[s.face]])
    missing = [i for i, points in enumerate(by_landmark) if not points]
    if missing:
        raise ValueError(f"no render of the head showed the detector landmarks {missing}")
    medians = np.stack([geometric_median(np.stack(points)) for points in by_landmark])
    spread = [
        np.median(np.linalg.norm(np.stack(points) - median, axis=1))
        for points, median in zip(by_landmark, medians, strict=True)
    ]
    return medians, np.array(spread)


def geometric_median(points: np.ndarray, steps: int = 30) -> np.ndarray:  # [N, D] -> [D]
    """The point with the least summed distance to the others (Weiszfeld's iteration)."""
    median = np.median(points, axis=0)
    for _ in range(steps):
        weight = 1 / np.maximum(np.linalg.norm(points - median, axis=1), 1e-6)
        median = (points * weight[:, None]).sum(0) / weight.sum()
    return median


def _embed(head: HeadData, vertices: np.ndarray, points: np.ndarray, reliable: np.ndarray) -> LandmarkEmbedding:
    """The closest points of the skin, or of the eyeballs for irises."""
    face, barycentric = np.empty(len(points), np.int32), np.empty((len(points), 3), np.float32)
    iris = index_mask(IRISES)[: len(points)] & (len(points) == N_LANDMARKS)
    for chosen, parts in ((~iris, [0]), (iris, _eye_parts(head))):
        if chosen.any():
            allowed = np.flatnonzero(np.isin(head.face_part, parts))
            nearest, barycentric[chosen] = closest_points(points[chosen], vertices, head.faces[allowed])
            face[chosen] = allowed[nearest]
    return LandmarkEmbedding(face, barycentric, reliable)
