"""Laying the open head onto another head, so that places of one can be named on the other.

Both heads open their jaws first: then upper and lower lip lie apart, and nearness cannot confuse them. A similarity
comes from the joints and the surfaces; the open head's identity space follows it to the other's proportions, which
keeps lids on lids and lips on lips; last, a smooth displacement closes what remains (non-rigid ICP after Amberg et
al., "Optimal Step Nonrigid ICP Algorithms for Surface Registration", CVPR 2007, with a bi-Laplacian as stiffness).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from emo_avatar.errors import UserError
from emo_avatar.head.data import JOINTS, N_SHAPE, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.head.surface import Surface, boundary_vertices, face_normals, vertex_normals

JAW_OPEN = 0.2  # radians; apart, but not so far that cheeks stretch differently on the two heads
N_IDENTITY = 60  # components of the open head that are fitted; 99 % of its variance
SHAPE_STEPS = 20
# Standard deviation of surface distances that identity explains, metres, and how many of them count as independent:
# neighbouring vertices repeat one another.
SURFACE_SIGMA = 0.0015
N_INDEPENDENT = 400.0
EYE_SIGMA = 0.001  # metres, how well eye centres must meet
STIFFNESS = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)  # of the smooth displacement, stiff to soft
TANGENTIAL = 0.03  # weight of staying in place along the surface, against closing the distance to it
ANCHOR = 1e-6  # weight of a vertex' own place, which keeps the system regular
MIN_MATCHES = 200  # vertices of the open head that must find a place; a head takes thousands
MAX_DISTANCE = 0.02  # metres beyond which surfaces are taken not to correspond
OUTLIER = 0.003  # metres at which a distance counts half (Geman-McClure)


@dataclass(frozen=True)
class Registration:
    """The open head in the place of another, both with ``JAW_OPEN``."""

    source: np.ndarray  # [Vs, 3] metres, the open head's vertices on the other head
    target: np.ndarray  # [Vt, 3] the other head's vertices
    scale: float  # of the open head's size
    rotation: np.ndarray  # [3, 3]
    shape: np.ndarray  # [300] of the open head
    distance: float  # metres, median of the remaining distances of the outer skin


def register(
    source: HeadData,
    target: HeadData,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
    *,
    shape_steps: int = SHAPE_STEPS,
    stiffness: Sequence[float] = STIFFNESS,
) -> Registration:
    """Lay ``source``, the open head, onto ``target``; fewer steps are quicker and less exact.

    Raises:
        UserError: the target is no head, is inside out, or its eyes are not where FLAME's orientation has them.
    """
    skin_faces = target.faces[(target.vertex_part == 0)[target.faces].all(1)]
    target_vertices = _posed(HeadModel(target), None)[0]
    if (face_normals(target_vertices, skin_faces) * _outwards(target_vertices[skin_faces])).sum() < 0:
        raise UserError(f"{target.name} is inside out: its faces wind clockwise, where FLAME's wind counter-clockwise.")
    surface = Surface(target_vertices, skin_faces)
    open_edge = boundary_vertices(skin_faces, target.n_vertices)
    # Only the skin is matched; teeth, lashes and eyeballs of the open head go along with its proportions.
    skin = np.flatnonzero(source.part("skin"))
    renumbered = np.cumsum(source.part("skin")) - 1
    faces = renumbered[source.faces[source.part("skin")[source.faces].all(1)]]
    outer = ~(source.regions["mouth_bag"] | source.regions["eye_sockets"])[skin]

    fit = _SimilarityAndShape(source, target, skin)
    for step in range(shape_steps):
        progress(0.5 * step / shape_steps, "matching the proportions")
        matches = _match(fit.vertices()[skin], faces, outer, surface, open_edge)
        if len(matches.vertices) < MIN_MATCHES:
            raise UserError(f"{target.name} does not have the shape of a head around its eyes.")
        # The first steps settle size and place, before proportions take part.
        fit.step(matches, N_IDENTITY if step >= shape_steps // 4 else 0)
    placed = fit.vertices()
    moved = base = placed[skin]
    bending = _bending(faces, len(skin))
    for i, weight in enumerate(stiffness):
        progress(0.5 + 0.5 * i / len(stiffness), "matching the surface")
        moved = _drawn(moved, base, _match(moved, faces, outer, surface, open_edge), weight * bending)
    placed[skin] = moved
    distance = np.abs(_match(moved, faces, outer, surface, open_edge).residuals(moved))
    shape = np.pad(fit.shape, (0, N_SHAPE - N_IDENTITY))
    return Registration(placed, target_vertices, fit.scale, fit.rotation, shape, float(np.median(distance)))


def _outwards(corners: np.ndarray) -> np.ndarray:  # [F, 3, 3] -> [F, 3]
    """From the middle of a mesh to the middle of each triangle."""
    middles = corners.mean(1)
    return middles - middles.mean(0)


def _posed(model: HeadModel, shape: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3], joints [5, 3] and the rotation of every vertex [V, 3, 3] of a head with its jaw open."""
    jaw = torch.tensor([[JAW_OPEN, 0.0, 0.0]])
    with torch.no_grad():
        beta = None if shape is None else torch.as_tensor(shape, dtype=torch.float32)[None]
        posed = model(shape=beta, jaw_pose=jaw)
        turned = torch.einsum("vj,jab->vab", model.weights, posed.joint_transforms[0, :, :3, :3])
    return posed.vertices[0].numpy().astype(float), posed.joints[0].numpy().astype(float), turned.numpy().astype(float)


@dataclass(frozen=True)
class _Matches:
    """Places of the target that some vertices of the source should lie on."""

    vertices: np.ndarray  # [M] indices
    points: np.ndarray  # [M, 3]
    normals: np.ndarray  # [M, 3] of the target there
    trust: np.ndarray  # [M] in [0, 1]

    def residuals(self, vertices: np.ndarray) -> np.ndarray:  # [V, 3] -> [M] metres along the normal
        return ((vertices[self.vertices] - self.points) * self.normals).sum(1)


def _match(
    vertices: np.ndarray, faces: np.ndarray, used: np.ndarray, surface: Surface, open_edge: np.ndarray
) -> _Matches:
    """The closest places of the surface that face the same way; those on its open edges belong to what it lacks."""
    index = np.flatnonzero(used)
    normals = vertex_normals(vertices, faces)[index]
    found = surface.closest(vertices[index], normals)
    on_edge = (open_edge[surface.faces[found.faces]] & (found.barycentric > 1e-6)).sum(1)
    inside = (found.barycentric > 1e-6).sum(1) > on_edge  # not wholly on boundary vertices
    good = (found.distance < MAX_DISTANCE) & inside
    points = np.einsum("nb,nbc->nc", found.barycentric[good], surface.corners[found.faces[good]])
    trust = 1 / (1 + (found.distance[good] / OUTLIER) ** 2) ** 2
    return _Matches(index[good], points, surface.normals[found.faces[good]], trust)


class _SimilarityAndShape:
    """Gauss-Newton on scale, rotation, translation and identity of the open head."""

    def __init__(self, source: HeadData, target: HeadData, skin: np.ndarray) -> None:
        self._model = HeadModel(source)
        self._skin = skin  # [S] vertices that matches count from
        self._dirs = source.shapedirs[skin, :, :N_IDENTITY].astype(float)  # [S, 3, K]
        eyes = [JOINTS.index("left_eye"), JOINTS.index("right_eye")]
        dirs = source.shapedirs[:, :, :N_IDENTITY].astype(float)
        self._eye_dirs = np.einsum("jv,vck->jck", source.J_regressor[eyes], dirs)  # [2, 3, K]
        self._eyes = eyes
        self._target_eyes = (target.J_regressor @ target.v_template)[eyes].astype(float)
        source_eyes = (source.J_regressor @ source.v_template)[eyes]
        apart = self._target_eyes[0] - self._target_eyes[1]
        if not apart[0] > 0.7 * np.linalg.norm(apart) > 0:
            raise UserError(f"{target.name}: its eyes are not side by side along x, as FLAME's are.")
        self.shape = np.zeros(N_IDENTITY)
        self.rotation = np.eye(3)
        self.scale = float(np.linalg.norm(apart) / np.linalg.norm(source_eyes[0] - source_eyes[1]))
        self._translation = self._target_eyes.mean(0) - self.scale * source_eyes.mean(0)
        self._pose()

    def _pose(self) -> None:
        self._local, joints, self._turned = _posed(self._model, np.pad(self.shape, (0, N_SHAPE - N_IDENTITY)))
        self._local_eyes = joints[self._eyes]

    def vertices(self) -> np.ndarray:  # [V, 3]
        return self._placed(self._local)

    def _placed(self, points: np.ndarray) -> np.ndarray:
        return self.scale * points @ self.rotation.T + self._translation

    def step(self, matches: _Matches, n_identity: int) -> None:
        """One step towards the matches of skin vertices; ``n_identity`` components take part."""
        i, normals = matches.vertices, matches.normals
        local, turned = self._local[self._skin[i]], self._turned[self._skin[i]]
        weight = np.sqrt(matches.trust / max(matches.trust.sum(), 1.0) * N_INDEPENDENT) / SURFACE_SIGMA  # [M]
        turned = self.scale * self.rotation @ turned  # [M, 3, 3]
        by_shape = np.einsum("mc,mcd,mdk->mk", normals, turned, self._dirs[i, :, :n_identity])
        surface_rows = np.concatenate([self._similarity(local, normals), by_shape], axis=1)
        surface_rhs = -matches.residuals(self._placed(self._local[self._skin]))

        axes = np.tile(np.eye(3), (2, 1))  # x, y, z of the left eye, then of the right
        eye_points = np.repeat(self._local_eyes, 3, axis=0)
        eye_shape = (self.scale * np.einsum("ab,jbk->jak", self.rotation, self._eye_dirs)).reshape(6, -1)
        eye_rows = np.concatenate([self._similarity(eye_points, axes), eye_shape[:, :n_identity]], axis=1)
        eye_rhs = (self._target_eyes - self._placed(self._local_eyes)).ravel()

        prior = np.concatenate([np.zeros((n_identity, 7)), np.eye(n_identity)], axis=1)
        rows = np.concatenate([surface_rows * weight[:, None], eye_rows / EYE_SIGMA, prior])
        rhs = np.concatenate([surface_rhs * weight, eye_rhs / EYE_SIGMA, -self.shape[:n_identity]])
        solution = np.linalg.solve(rows.T @ rows, rows.T @ rhs)
        self._translation += solution[:3]
        turn = Rotation.from_rotvec(solution[3:6]).as_matrix()
        self.rotation = turn @ self.rotation
        self.scale *= float(np.exp(solution[6]))
        self.shape[:n_identity] += solution[7:]
        self._pose()

    def _similarity(self, local: np.ndarray, directions: np.ndarray) -> np.ndarray:  # [M, 3], [M, 3] -> [M, 7]
        """Change of the points along directions by translation, rotation about the origin of the head, and scale."""
        arm = self.scale * local @ self.rotation.T
        turn = np.cross(arm, directions)
        return np.concatenate([directions, turn, (arm * directions).sum(1, keepdims=True)], axis=1)


def _bending(faces: np.ndarray, n_vertices: int) -> sparse.csc_matrix:  # [V, V]
    """The quadratic form of a displacement's bending: its umbrella Laplacian, squared."""
    laplacian = umbrella(faces, n_vertices)
    return (laplacian.T @ laplacian).tocsc()


def umbrella(faces: np.ndarray, n_vertices: int) -> sparse.csr_matrix:  # [F, 3] -> [V, V]
    """What a vertex' value exceeds the mean of its neighbours' by."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    neighbours = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(n_vertices, n_vertices)).tocsr()
    degree = np.maximum(np.asarray(neighbours.sum(1)).ravel(), 1)
    return (sparse.identity(n_vertices) - sparse.diags(1 / degree) @ neighbours).tocsr()


def _drawn(
    vertices: np.ndarray,  # [V, 3] as they lie now
    base: np.ndarray,  # [V, 3] from which the displacement is smooth
    matches: _Matches,
    bending: sparse.csc_matrix,
) -> np.ndarray:  # [V, 3]
    """The base displaced smoothly towards the matches.

    Distances along the normals are to be closed; along the surface the smooth displacement is nearly free, so that
    the places of nose, lids and lips, which normals do tell, guide brows and cheeks, where they do not.
    """
    n = len(base)
    i, normals = matches.vertices, matches.normals
    blocks = np.tile(ANCHOR * np.eye(3), (n, 1, 1))
    pull = normals[:, :, None] * normals[:, None, :]
    pull = matches.trust[:, None, None] * ((1 - TANGENTIAL) * pull + TANGENTIAL * np.eye(3))
    blocks[i] += pull
    step = -matches.residuals(vertices)[:, None] * normals
    goal = np.zeros((n, 3))
    goal[i] = np.einsum("mab,mb->ma", pull, vertices[i] + step - base[i])
    rows = np.arange(3 * n).reshape(n, 3, 1).repeat(3, axis=2)
    data = sparse.coo_matrix((blocks.ravel(), (rows.ravel(), rows.transpose(0, 2, 1).ravel())), shape=(3 * n, 3 * n))
    system = splu((data + sparse.kron(bending, sparse.identity(3))).tocsc())
    return base + system.solve(goal.ravel()).reshape(n, 3)
