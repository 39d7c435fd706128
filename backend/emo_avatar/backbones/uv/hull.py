"""The head with its hair on: the scalp inflated until its silhouette is that of the hair in the photograph.

The hull keeps the head's topology, so what lies on it is bound to the head's own triangles and the back of the head is
closed. Hair that no inflated scalp explains (long, loose, hanging) is left to the sheets.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from emo_avatar.backbones.portrait.view import MeshView, sample, smooth_over_mesh, vertex_normals
from emo_avatar.backbones.uv.rays import DIRECTIONS, outermost, walk
from emo_avatar.head.data import HeadData

MAX_THICKNESS = 0.07  # metres of hair that a scalp is inflated by at most
CORRECTION = 0.004  # metres that a second round may add or take away
BACK_SHARE = 0.75  # of the mean thickness beside the head, assumed behind it
LEAST_RAMP, RAMP_SHARE = 0.012, 0.9  # metres from the hairline to full thickness; also as a share of the thickness
GAP = 4  # pixels of something else that a ray may cross
SMOOTHING = 3.0  # degrees
FRIZZ, INSET = 5, 1.5  # degrees and pixels by which the hull stays inside a ragged outline; single locks are sheets
BELOW_EARS = 20.0  # degrees under the horizontal through the ears over which hair stops clinging to the skull
LEAST_COVERED = 0.15  # share of an ear under hair from which it is not just the hairline beside it
GRAZING = 0.35  # cosine to the camera under which hair is behind a surface rather than on it
SEEN_EAR = 0.3  # of what is seen of the other ear, under which the other tells how far hair covers both
TURNED = 0.25  # by which the other side of a face must be seen better to say what the far side of a turned head wears


def hair_vertices(view: MeshView, hair: np.ndarray, alpha: np.ndarray, head: HeadData) -> np.ndarray:  # [V]
    """How much each vertex is under hair, 0 to 1: seen ones by the photograph, hidden ones by the usual hairline."""
    scalp = head.regions["scalp"].astype(float)
    outer = head.part("skin") & ~head.regions["mouth_bag"] & ~head.regions["eye_sockets"]
    normals = vertex_normals(view.vertices, view.faces)
    facing = view.facing(view.vertices, normals)
    seen = view.sees(view.vertices, 0.004) & outer
    ear_lobe = view.vertices[head.regions["ears"], 1].min()
    may_cover = (facing > GRAZING) | (view.vertices[:, 1] > ear_lobe)  # below the ears hair hangs behind the jaw
    pixel, _ = view.camera.project(view.vertices)
    solid = sample(alpha, pixel) > 0.9
    values = np.where(seen & may_cover & solid, sample(hair, pixel), scalp) * outer
    # What shows along the far cheek of a turned head is the hair behind it.
    mirror = cKDTree(head.v_template).query(head.v_template * np.array([-1, 1, 1]))[1]
    far = head.regions["face"] & (facing < GRAZING) & (facing[mirror] > facing + TURNED) & seen[mirror]
    values = np.where(far, values[mirror], values)
    left = head.v_template[:, 0] > 0
    ears = head.regions["ears"] & left, head.regions["ears"] & ~left
    better = max(ears, key=lambda ear: (ear & seen).sum())
    for ear in ears:  # hair covers an ear from above
        shown = (ear if (ear & seen).sum() > SEEN_EAR * (better & seen).sum() else better) & seen
        covered = values[shown].mean() if shown.any() else 0.0
        height = view.vertices[:, 1]
        values[ear] = height[ear] > np.quantile(height[ear], 1 - covered) if covered > LEAST_COVERED else 0.0
    for name in ("lids", "lips", "neck", "collar"):
        values[head.regions[name]] = 0  # dark as they may be; and hair only hangs before and behind a neck
    return smooth_over_mesh(values, head.faces, 3)


def inflate_scalp(
    view: MeshView,
    hair: np.ndarray,
    alpha: np.ndarray,
    under_hair: np.ndarray,
    head: HeadData,
    least: float,
    most: float,
) -> np.ndarray:  # [H, W], [H, W], [V] -> [V, 3]
    """The posed head with its scalp inflated to the hair's silhouette, by metres within a range.

    Hairlines are spared, so that a first round falls short or goes too far; a second mends it.
    """
    centre = skull_centre(view.vertices, head)
    centre_px, centre_depth = (x[0] for x in view.camera.project(centre[None]))
    silhouette = outermost(view.covered, centre_px)
    reach = walk(alpha * hair, centre_px, silhouette, GAP)
    solid = minimum_filter1d(reach, FRIZZ, mode="wrap") - INSET
    thickness = gaussian_filter1d(solid - silhouette, SMOOTHING, mode="wrap")
    hanging = np.where(DIRECTIONS < 180, 90 - np.abs(DIRECTIONS - 90), 0)
    thickness = np.clip(thickness * centre_depth / view.camera.K[0, 0], least, most)
    thickness *= np.clip(1 - hanging / BELOW_EARS, 0, 1)

    offset = view.camera.project(view.vertices)[0] - centre_px
    degrees, radius = np.degrees(np.arctan2(offset[:, 1], offset[:, 0])), np.linalg.norm(offset, axis=1)
    aside = np.clip(radius / np.interp(degrees, DIRECTIONS, silhouette, period=360), 0, 1) ** 2
    behind = thickness[DIRECTIONS > 180].mean() * BACK_SHARE
    wanted = aside * np.interp(degrees, DIRECTIONS, thickness, period=360) + (1 - aside) * behind

    distance = _distance_from_skin(view.vertices, head, under_hair)
    ramp = np.clip(distance / np.maximum(LEAST_RAMP, RAMP_SHARE * wanted), 0, 1)
    lift = wanted * under_hair * np.sin(ramp * np.pi / 2)
    outwards = view.vertices - centre
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    return (view.vertices + lift[:, None] * outwards).astype(np.float32)


def skull_centre(vertices: np.ndarray, head: HeadData) -> np.ndarray:  # [3]
    """The middle of the skull at the height of the ears' upper half."""
    scalp, ears = vertices[head.regions["scalp"]], vertices[head.regions["ears"]]
    middle = (scalp.min(0) + scalp.max(0)) / 2
    return 0.5 * middle + 0.5 * ears.mean(0)


def _distance_from_skin(vertices: np.ndarray, head: HeadData, under_hair: np.ndarray) -> np.ndarray:  # [V] metres
    """Distance over the surface from each vertex to the nearest bare skin."""
    edges = np.concatenate([head.faces[:, [0, 1]], head.faces[:, [1, 2]], head.faces[:, [2, 0]]])
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    bare = np.flatnonzero(head.part("skin") & (under_hair < 0.5))
    distance: np.ndarray = dijkstra(graph, directed=False, indices=bare, min_only=True, limit=0.2)
    return np.where(np.isfinite(distance), distance, 0.2)
