"""A stand-in for official FLAME, which cannot be had without registration, and its files as Python 2 wrote them."""

import struct
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.transform import Rotation

from emo_avatar.head.components import split_parts
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.head.model import HeadModel

SCALE = 1.04
TURN = Rotation.from_euler("xyz", [3, -2, 1.5], degrees=True).as_matrix()
SHIFT = np.array([0.01, -0.03, 0.02])
RANK = 70  # expression components that are not zero


@dataclass(frozen=True)
class FlameLike:
    """Another head of FLAME's kind, and what its ARKit units should look like."""

    head: HeadData  # without mapping, landmarks and regions
    arkit: np.ndarray  # [52, V, 3] true displacements in metres
    from_open: sparse.csr_matrix  # [V, Vopen] averages the open head's vertices


@pytest.fixture(scope="session")
def open_head():
    return load_head()


@pytest.fixture(scope="session")
def flame_like(open_head):
    """The open head as another person, warped, resized, moved, with other triangles, vertex order and expressions.

    Its skin is the dual mesh of the open head's: a vertex in every quad. Teeth, tongue, lashes, mouth and eye sockets
    are gone, as in FLAME.
    """
    rng = np.random.default_rng(0)
    skin = open_head.part("skin") & ~open_head.regions["mouth_bag"] & ~open_head.regions["eye_sockets"]
    eyes = open_head.part("eye_left") | open_head.part("eye_right")
    average, faces = dual_mesh(open_head, skin, eyes, rng)
    centres, pushes = rng.normal(0, 0.06, (40, 3)), rng.normal(0, 0.004, (40, 3))

    def placed(points):  # [..., 3] open head to stand-in, a smooth warp of some 3 mm included
        moved = SCALE * points @ TURN.T + SHIFT
        distance2 = ((moved[..., None, :] - centres) ** 2).sum(-1)
        return moved + np.exp(-distance2 / (2 * 0.03**2)) @ pushes

    shape = np.zeros(300, np.float32)
    shape[:60] = rng.normal(0, 0.8, 60)
    person = HeadModel(open_head).for_identity(torch.as_tensor(shape))
    with torch.no_grad():
        rest = person()
        units = person(
            expression=torch.as_tensor(open_head.arkit_to_expr),
            jaw_pose=torch.as_tensor(open_head.arkit_to_pose[:, :3]),
            eyes_pose=torch.as_tensor(open_head.arkit_to_pose[:, 3:]),
        ).vertices.numpy()
    vertices_open = rest.vertices[0].numpy()
    template = placed(average @ vertices_open)
    arkit = np.stack([placed(average @ unit) for unit in units]) - template
    turns_eyes = np.abs(open_head.arkit_to_pose[:, 3:]).sum(1) > 0
    weights = average @ open_head.weights
    on_eyes = weights[:, 3:].sum(1) > 0.5
    skin_units = np.where(turns_eyes[:, None, None] & on_eyes[:, None], 0, arkit)

    # Expressions: principal components of random faces, as FLAME's, which only together make up a unit.
    turns_jaw = np.abs(open_head.arkit_to_pose[:, :3]).sum(1) > 0
    other = average @ open_head.shapedirs[:, :, 300:].transpose(2, 0, 1).astype(float) @ (SCALE * TURN.T)
    pool = np.concatenate([skin_units[~turns_jaw], other]).reshape(-1, template.size)
    mixture = rng.normal(0, 1, (300, len(pool))) * (rng.random((300, len(pool))) < 0.2)
    shapedirs = np.zeros((len(template), 3, 400), np.float32)
    shapedirs[:, :, 300 : 300 + RANK] = principal_components(mixture @ pool, RANK).reshape(len(template), 3, RANK)
    identity = average @ open_head.shapedirs[:, :, :100].transpose(2, 0, 1).astype(float) @ (SCALE * TURN.T)
    shapedirs[:, :, :100] = identity.transpose(1, 2, 0)
    posedirs = average @ open_head.posedirs.transpose(2, 0, 1).astype(float) @ (SCALE * TURN.T)
    posedirs[18:] = 0  # FLAME's lids do not follow its eyes
    parts = split_parts(template, faces, weights)
    head = HeadData(
        name="generic_model",
        v_template=template.astype(np.float32),
        shapedirs=shapedirs,
        posedirs=posedirs.transpose(1, 2, 0).astype(np.float32),
        J_regressor=joint_regressor(template, weights, placed(rest.joints[0].numpy())).astype(np.float32),
        weights=weights.astype(np.float32),
        faces=faces,
        quads=faces[:, [0, 1, 2, 2]],
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 3), np.int32),
        uv_quads=np.zeros((0, 4), np.int32),
        part_names=parts.names,
        vertex_part=parts.vertex_part,
        face_part=parts.vertex_part[faces[:, 0]],
    )
    return FlameLike(head, arkit, average)


def dual_mesh(head, skin, eyes, rng):
    """Averaging matrix and triangles: a shuffled vertex per quad of the skin, then the eyeballs as they are."""
    quads = head.quads[skin[head.quads].all(1) & (head.quads[:, 2] != head.quads[:, 3])]
    follower = {}  # vertex -> {previous corner: (quad, next corner)}
    for index, quad in enumerate(quads):
        for k in range(4):
            follower.setdefault(quad[k], {})[quad[k - 1]] = (index, quad[(k + 1) % 4])
    triangles = []
    for around in follower.values():
        ring, corner = [], next(iter(around))
        while corner in around and len(ring) < len(around):
            index, corner = around[corner]
            ring.append(index)
        if corner == next(iter(around)):  # the quads close around the vertex
            triangles += [(ring[0], b, a) for a, b in zip(ring[1:], ring[2:], strict=False)]
    used, triangles = np.unique(triangles, return_inverse=True)
    order = rng.permutation(len(used))
    triangles = np.argsort(order)[triangles.reshape(-1, 3)]
    corners = quads[used[order]]
    n = head.n_vertices
    average = sparse.csr_matrix(
        (np.full(corners.size, 0.25), corners.ravel(), np.arange(0, corners.size + 1, 4)), (len(corners), n)
    )
    kept = np.flatnonzero(eyes)
    renumbered = np.full(n, -1)
    renumbered[kept] = len(corners) + np.arange(len(kept))
    eye_faces = renumbered[head.faces[eyes[head.faces].all(1)]]
    average = sparse.vstack([average, sparse.identity(n, format="csr")[kept]]).tocsr()
    return Averages(average), np.concatenate([triangles, eye_faces]).astype(np.int32)


class Averages:
    """A sparse matrix that multiplies stacks of vertices [..., V, C] too."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __matmul__(self, values):
        if values.ndim == 2:
            return self.matrix @ values
        return np.stack([self @ value for value in values])


def principal_components(samples, rank):  # [N, D] -> [D, rank], each of one standard deviation
    values, vectors = np.linalg.eigh(samples @ samples.T)
    return samples.T @ vectors[:, ::-1][:, :rank] / np.sqrt(len(samples))


def joint_regressor(vertices, weights, joints):
    """The smallest weights of near vertices that average to the joints."""
    regressor = np.zeros((5, len(vertices)))
    for j, joint in enumerate(joints):
        near = np.flatnonzero(weights[:, j] > 0.99) if j > 2 else np.argsort(((vertices - joint) ** 2).sum(1))[:300]
        system = np.concatenate([vertices[near].T, np.ones((1, len(near)))])
        regressor[j, near] = np.linalg.pinv(system) @ np.append(joint, 1)
    return regressor


@pytest.fixture(scope="session")
def official_arrays(flame_like):
    """The arrays of the stand-in under the official names and types."""
    head = flame_like.head
    return {
        "v_template": head.v_template.astype(np.float64),
        "shapedirs": head.shapedirs.astype(np.float64),
        "posedirs": head.posedirs.astype(np.float64),
        "J_regressor": sparse.csc_matrix(head.J_regressor.astype(np.float64)),
        "weights": head.weights.astype(np.float64),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "f": head.faces.astype(np.uint32),
        "J": head.J_regressor.astype(np.float64) @ head.v_template,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@dataclass(frozen=True)
class Ch:
    """A chumpy array to be written."""

    x: np.ndarray


@dataclass(frozen=True)
class Select:
    """A chumpy selection to be written."""

    a: Ch
    idxs: np.ndarray
    preferred_shape: tuple


def python2_pickle(value):
    """The bytes that Python 2's cPickle writes in protocol 2."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value):
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str | bytes):
        raw = value.encode("latin-1") if isinstance(value, str) else value
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_python2, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, np.dtype):
        made = b"cnumpy\ndtype\n" + _python2((value.str[1:], 0, 1)) + b"R"
        return made + _python2((3, value.str[0], None, None, None, -1, -1, 0)) + b"b"
    if isinstance(value, np.ndarray):
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _python2((0,)) + _python2("b") + b"tR"
        fortran = bool(value.ndim > 1 and value.flags.f_contiguous)
        data = value.tobytes(order="F" if fortran else "C")
        return made + _python2((1, value.shape, value.dtype, fortran, data)) + b"b"
    if sparse.issparse(value):
        state = {
            "_shape": value.shape, "indptr": value.indptr, "indices": value.indices, "data": value.data,
            "format": "csc", "maxprint": 50,
        }  # fmt: skip
        return b"cscipy.sparse.csc\ncsc_matrix\n)\x81" + _python2(state) + b"b"
    kind = {Ch: b"cchumpy.ch\nCh\n", Select: b"cchumpy.reordering\nSelect\n"}[type(value)]
    # The state that chumpy's __getstate__ leaves, with the set that marks changed terms
    state = {"_dirty_vars": b"c__builtin__\nset\n(]tR", "_itr": None, "_make_dense": False, "_depends_on_deps": {}}
    items = b"".join(_python2(k) + (v if k == "_dirty_vars" else _python2(v)) for k, v in state.items())
    terms = b"".join(_python2(k) + _python2(getattr(value, k)) for k in value.__dataclass_fields__)
    return kind + b")\x81}(" + items + terms + b"ub"


@pytest.fixture(scope="session")
def flame_pickle(tmp_path_factory, official_arrays):
    """The stand-in as FLAME 2020's generic_model.pkl: chumpy, scipy and Python 2 inside."""
    arrays = dict(official_arrays)
    dirs = arrays["shapedirs"]
    arrays["shapedirs"] = Ch(dirs)
    arrays["weights"] = Select(Ch(arrays["weights"]), np.arange(arrays["weights"].size), arrays["weights"].shape)
    arrays["v_template"] = np.asfortranarray(arrays["v_template"])
    path = tmp_path_factory.mktemp("flame") / "generic_model.pkl"
    path.write_bytes(python2_pickle(arrays))
    return path


@pytest.fixture(scope="session")
def flame_npz(tmp_path_factory, official_arrays):
    """The stand-in as smplx's FLAME_NEUTRAL.npz."""
    path = tmp_path_factory.mktemp("smplx") / "FLAME_NEUTRAL.npz"
    arrays = official_arrays | {"J_regressor": official_arrays["J_regressor"].toarray()}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def without_additions():
    """A head reduced to what an official file holds."""

    def reduce(head):
        return replace(head, regions={}, landmarks478=None, landmarks68=None)

    return reduce
