"""Eyeballs, teeth and mouth of a baked surface."""

from dataclasses import replace

import numpy as np
import pytest

from emo_avatar.export.bake import texel_points
from emo_avatar.export.inner_parts import EYES, IRIS, WHITE, inner_colours
from emo_avatar.head.data import load_head

SKIN = (0.7, 0.5, 0.4)


@pytest.fixture(scope="module")
def head():
    return load_head()


@pytest.fixture(scope="module")
def points(head):
    return texel_points(head.uv, head.uv_faces, 512)[0]


@pytest.fixture
def baked(points):  # as pictures bake it: skin wherever one looks
    return np.tile(np.float32(SKIN), (len(points.face), 1))


def of_part(head, points, name):
    return head.face_part[points.face] == head.part_names.index(name)


def eye_angles(head, points, name):
    ball = head.v_template[head.part(name)]
    directions = points.on(head.v_template, head.faces) - (ball.min(0) + ball.max(0)) / 2
    return np.degrees(np.arccos(directions[:, 2] / np.linalg.norm(directions, axis=1)))


def test_teeth_and_tongue_are_the_open_heads_and_the_face_stays(head, points, baked):
    found = inner_colours(baked, points, head)
    teeth, tongue = of_part(head, points, "upper_teeth"), of_part(head, points, "tongue")
    assert np.percentile(found[teeth].min(axis=1), 90) > 0.7  # white somewhere, which skin is not
    assert (found[tongue, 0] > 1.3 * found[tongue, 1]).mean() > 0.9  # red
    inner = head.regions["mouth_bag"] | head.regions["eye_sockets"]
    face = of_part(head, points, "skin") & ~inner[head.faces[points.face]].any(axis=1)
    np.testing.assert_array_equal(found[face], baked[face])
    assert face.mean() > 0.5


def test_eyes_keep_the_persons_iris_and_lose_the_lids(head, points, baked):
    blue, lit = np.float32((0.2, 0.3, 0.6)), np.float32((0.75, 0.75, 0.75))
    for name in EYES:
        own, angle = of_part(head, points, name), eye_angles(head, points, name)
        baked[own & (angle < 23)] = blue
        baked[own & (angle > 24) & (angle < 50)] = lit
    found = inner_colours(baked, points, head)
    for name in EYES:
        own, angle = of_part(head, points, name), eye_angles(head, points, name)
        iris = found[own & (angle > IRIS[0]) & (angle < IRIS[1])]
        np.testing.assert_allclose(np.median(iris, axis=0), blue, atol=0.06)
        assert found[own & (angle < 4)].max() < 0.15  # a pupil, which the picture had not
        white = found[own & (angle > WHITE[0]) & (angle < 70)]
        assert np.ptp(np.median(white, axis=0)) < 0.1 and np.median(white) > 0.6  # no skin on the eyeball


def test_black_and_white_portrait_has_no_red_tongue(head, points, baked):
    baked[:] = 0.6
    found = inner_colours(baked, points, head)
    assert np.ptp(found[of_part(head, points, "tongue")], axis=1).max() < 0.01


def test_another_head_is_left_alone(head, points, baked):
    other = replace(head, uv=head.uv[:, ::-1])
    assert inner_colours(baked, points, other) is baked
