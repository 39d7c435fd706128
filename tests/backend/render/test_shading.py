from dataclasses import replace

import numpy as np
import pytest

from emo_avatar.head.data import ARKIT_NAMES, load_head
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import vertex_normals
from emo_avatar.render.shading import shade
from emo_avatar.render.subdivision import tessellation


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def camera():
    return Camera.orbit(np.array([0.0, -0.02, 0.0]), 1.2, fov=15, size=192)


def test_the_head_is_opaque_on_a_clear_background(head, camera):
    picture = shade(head, head.v_template, camera)
    assert picture.shape == (192, 192, 4) and picture.dtype == np.uint8
    assert picture[96, 96, 3] == 255 and picture[2, 2, 3] == 0
    assert 0.2 < (picture[..., 3] == 255).mean() < 0.8


def test_skin_is_skin_coloured_and_eyes_are_not(head, camera):
    picture = shade(head, head.v_template, camera).astype(int)
    cheek = np.array([0.045, -0.03, 0.07])
    eyes = (head.J_regressor @ head.v_template)[3:]
    white = eyes[0] + [0.0075, 0, 0.0135]

    def colour(point):
        ((x, y),), _ = camera.project(point[None])
        return picture[int(y), int(x), :3]

    red, green, blue = colour(cheek)
    assert red > green > blue and red > 120
    assert np.ptp(colour(white)) < red - blue  # the white of the eye is greyer than skin


def test_a_raised_brow_wrinkles_the_forehead_only_against_a_resting_face(head, camera):
    moved = head.v_template + head.shapedirs[:, :, 300:] @ (1.5 * head.arkit_to_expr[ARKIT_NAMES.index("browInnerUp")])
    plain, wrinkled = (shade(head, moved, camera, rest).astype(int) for rest in (None, head.v_template))
    changed = np.abs(plain - wrinkled)[..., :3].max(-1)
    (x, y), *_ = camera.project(np.array([[0.0, 0.050, 0.09]]))[0]
    forehead = np.zeros_like(changed, bool)
    forehead[int(y) - 20 : int(y) + 20, int(x) - 30 : int(x) + 30] = True
    assert changed[forehead].max() > 8
    assert changed[140:].max() == 0  # the neck and the chin are as they were
    assert np.array_equal(shade(head, head.v_template, camera, head.v_template), shade(head, head.v_template, camera))


def test_a_head_without_texture_and_parts_is_drawn_plainly(head, camera):
    plain = replace(
        head,
        name="imported",
        part_names=("skin",),
        vertex_part=np.zeros_like(head.vertex_part),
        face_part=np.zeros_like(head.face_part),
        regions={},
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 3), np.int32),
    )
    assert (shade(plain, head.v_template, camera)[..., 3] == 255).mean() > 0.2


def test_nothing_in_view_is_an_empty_picture(head):
    away = Camera.orbit(np.array([5.0, 0.0, 0.0]), 1.0, fov=10, size=32)
    assert not shade(head, head.v_template, away).any()


def test_tessellation_rounds_a_sphere(head):
    angle = 2 * np.pi * np.arange(16) / 16
    polar = np.linspace(0.1, np.pi - 0.1, 10)
    vertices = np.concatenate(
        [np.stack([np.sin(p) * np.cos(angle), np.cos(p) + 0 * angle, np.sin(p) * np.sin(angle)], 1) for p in polar]
    )
    k, ring = np.arange(9)[:, None] * 16, np.arange(16)
    a, b = (k + ring).ravel(), (k + np.roll(ring, -1)).ravel()
    faces = np.concatenate([np.stack([a, b, a + 16], 1), np.stack([b, b + 16, a + 16], 1)])
    ball = replace(
        head,
        v_template=vertices,
        part_names=("ball",),
        faces=faces,
        face_part=np.zeros(len(faces), np.int8),
        uv=np.zeros((0, 2)),
    )
    mesh = tessellation(ball)
    fine, _ = mesh.smooth(vertices, vertex_normals(vertices, faces))
    inner = np.abs(fine[:, 1]) < 0.8  # away from the open poles, where normals are one-sided
    straight = mesh.refine(vertices)
    assert len(mesh.faces) == 4 * len(faces)
    error = np.abs(np.linalg.norm(fine, axis=1) - 1)[inner].max()
    assert error < 0.5 * np.abs(np.linalg.norm(straight, axis=1) - 1)[inner].max()
    outward = (vertex_normals(fine, mesh.faces) * fine).sum(1)
    assert np.sign(outward[inner]).min() == np.sign(outward[inner]).max()
