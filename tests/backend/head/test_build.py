"""What the shipped open head promises, measured on its surface."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.build.topology import triangulate
from emo_avatar.head.data import ARKIT_NAMES, JOINTS, N_SHAPE, OPEN_HEAD_PATH, load_head, texture_path
from emo_avatar.head.model import HeadModel
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh

INNER = ("upper_teeth", "lower_teeth", "tongue")


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def pose(head):
    """Vertices of the head for ARKit weights and identity coefficients."""
    model = HeadModel(head)

    def of(arkit=None, shape=None):
        expression, jaw, eyes = flame_from_arkit(head, arkit_weights(**(arkit or {})))
        arguments = {"expression": expression, "jaw_pose": jaw, "eyes_pose": eyes}
        if shape is not None:
            arguments["shape"] = shape
        tensors = {k: torch.as_tensor(v, dtype=torch.float32).reshape(1, -1) for k, v in arguments.items()}
        with torch.no_grad():
            return model(**tensors).vertices[0].numpy()

    return of


@pytest.fixture(scope="module")
def people():
    return np.random.default_rng(0).standard_normal((12, N_SHAPE)).astype(np.float32)


def views(target, size=256, fov=14.0):
    for yaw, pitch in ((0, 0), (35, 0), (-35, 0), (0, 20), (0, -20)):
        yield Camera.orbit(np.array(target), 0.6, yaw=yaw, pitch=pitch, fov=fov, size=size)


def of_parts(head, names):
    return np.isin(head.face_part, [head.part_names.index(name) for name in names])


def test_files_are_small_and_the_texture_is_2k():
    assert OPEN_HEAD_PATH.stat().st_size <= 8_000_000
    with Image.open(texture_path()) as image:
        assert image.size == (2048, 2048)


def test_faces_are_the_quads_triangulated(head):
    faces, uv_faces = triangulate(head.quads, head.uv_quads)
    assert np.array_equal(faces, head.faces)
    assert np.array_equal(uv_faces, head.uv_faces)


def test_skin_is_closed_and_consistently_wound(head):
    faces = head.faces[of_parts(head, ["skin"])].tolist()
    directed = Counter((f[k], f[(k + 1) % 3]) for f in faces for k in range(3))
    assert set(directed.values()) == {1}
    assert all((b, a) in directed for a, b in directed)


def test_uv_islands_do_not_overlap(head):
    size = 1024
    flat = np.c_[head.uv[:, 0] * size, (1 - head.uv[:, 1]) * size, np.ones(len(head.uv))]
    plane = Camera(np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), size, size)
    shown = ~of_parts(head, ["lashes"])  # all strands share one patch
    # Even and odd faces apart: where both kinds are drawn, faces lie over each other, unless they are neighbours.
    drawn = [rasterize_mesh(flat, head.uv_faces, plane, shown & (np.arange(len(shown)) % 2 == k)).face for k in (0, 1)]
    both = (drawn[0] >= 0) & (drawn[1] >= 0)
    a, b = (head.uv_faces[d[both]] for d in drawn)
    neighbours = (a[:, :, None] == b[:, None, :]).any((1, 2))
    assert (~neighbours).sum() == 0
    covered = (drawn[0] >= 0) | (drawn[1] >= 0)
    assert covered.mean() > 0.65


def test_left_and_right_mirror_each_other(head):
    skin = head.v_template[head.part("skin")]
    mirrored = skin * [-1, 1, 1]
    order = np.lexsort(np.round(skin, 4).T)
    assert np.allclose(np.sort(skin[:, 1]), np.sort(mirrored[:, 1]))
    nearest = np.linalg.norm(skin[order[:400], None] - mirrored[None], axis=2).min(1)
    assert nearest.max() < 1e-5


def test_teeth_are_rigid(head):
    expression = head.shapedirs[:, :, N_SHAPE:]
    neck, jaw = JOINTS.index("neck"), JOINTS.index("jaw")
    upper, lower = head.part("upper_teeth"), head.part("lower_teeth")
    assert np.all(head.weights[upper, neck] == 1) and np.all(head.weights[lower, jaw] == 1)
    assert not expression[upper].any() and not head.posedirs[upper | lower].any()
    assert np.ptp(expression[lower], axis=0).max() < 1e-6


def test_every_arkit_unit_moves_something_and_only_pose_units_turn_joints(head):
    moves = np.abs(head.arkit_to_expr).max(1) > 0
    turns = np.abs(head.arkit_to_pose).max(1) > 0
    assert np.all(moves ^ turns)
    assert {n for n, t in zip(ARKIT_NAMES, turns, strict=True) if t} == {
        "jawOpen", "jawLeft", "jawRight", *(n for n in ARKIT_NAMES if n.startswith("eyeLook"))
    }  # fmt: skip


def test_lips_are_closed_at_neutral_for_everyone(head, pose, people):
    inside = of_parts(head, INNER) | head.regions["mouth_bag"][head.faces].all(1)
    for shape in (None, *people):
        vertices = pose(shape=shape)
        for camera in views((0, -0.06, 0.06), size=512):
            fragments = rasterize_mesh(vertices, head.faces, camera)
            assert inside[fragments.face[fragments.covered]].sum() <= 2  # of some 15,000 pixels of lips


def test_blink_covers_the_eyes_of_everyone(head, pose, people):
    closed = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
    drawn = ~of_parts(head, ["lashes"])
    eyes = of_parts(head, ["eye_left", "eye_right"])
    for shape in (None, *people):
        opened, shut = pose(shape=shape), pose(closed, shape)
        target = (head.J_regressor @ opened)[3:].mean(0)
        for camera in views(target):
            seen = [
                eyes[f.face[f.covered]].sum()
                for f in (rasterize_mesh(v, head.faces, camera, drawn) for v in (opened, shut))
            ]
            assert seen[0] > 300 and seen[1] <= 3


def test_teeth_and_tongue_stay_inside_the_mouth(head, pose):
    rng = np.random.default_rng(1)
    inner, lashes = of_parts(head, INNER), of_parts(head, ["lashes"])
    outside = ~head.regions["mouth_bag"][head.faces].any(1)
    for _ in range(12):
        units = [n for n in ARKIT_NAMES if rng.random() < 0.2 and n not in ("tongueOut", "mouthClose")]
        vertices = pose({n: float(rng.beta(1.2, 1.5)) for n in units})
        a, b, c = (vertices[head.faces[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        for camera in views((0, -0.06, 0.06)):
            whole = rasterize_mesh(vertices, head.faces, camera, ~lashes)
            without = rasterize_mesh(vertices, head.faces, camera, ~lashes & ~inner)
            faces_camera = (normals * (camera.position - a)).sum(1) > 0
            shown = whole.covered & inner[whole.face] & without.covered
            pierced = shown & (outside & faces_camera)[without.face]
            assert pierced.sum() == 0
