"""Colours on their way into Blender, and what the backend is asked for."""

from dataclasses import replace

import numpy as np
from emo_avatar_addon.view.camera import View
from emo_avatar_addon.view.picture import (
    FAR,
    POSE_FIELDS,
    Picture,
    Shown,
    decode_srgb,
    encode_srgb,
    fetch_part,
    fetch_picture,
    oversampling,
    scene_linear,
    visible_part,
)

WIDTHS = {"expression": 100, "eyes_pose": 6}


def standing(x, y, z):
    world = np.eye(4)
    world[:3, 3] = x, y, z
    return Shown("ab" * 32, world, person().pose | {"translation": np.zeros(3, np.float32)})


VIEW = View(np.eye(4), np.diag([50.0, 50.0, 1.0]), 3, 2)


def person(seed=0):
    rng = np.random.default_rng(seed)
    pose = {name: rng.normal(size=WIDTHS.get(name, 3)).astype(np.float32) for name in POSE_FIELDS}
    return Shown("ab" * 32, np.eye(4), pose)


def test_what_is_felt_is_part_of_the_look():
    calm, angry = person(), replace(person(), emotions=np.array([0, 0, 0.8, 0, 0, 0], np.float32))
    assert calm.key == person().key != angry.key


def test_srgb_is_the_standards_curve_and_goes_back():
    known = {0.0: 0.0, 0.04045: 0.0031308, 0.5: 0.21404114, 1.0: 1.0}
    np.testing.assert_allclose(decode_srgb(np.array(list(known))), list(known.values()), atol=1e-6)
    values = np.linspace(0, 2, 999)
    np.testing.assert_allclose(encode_srgb(decode_srgb(values)), values, atol=1e-7)


def test_translucent_colours_are_decoded_straight():
    rgba = np.array([[[0.25, 0.1, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]]], np.float32)
    linear = scene_linear(rgba)
    np.testing.assert_allclose(linear[0, 0], [decode_srgb(0.5) / 2, decode_srgb(0.2) / 2, 0, 0.5], atol=1e-6)
    assert not linear[0, 1].any()
    np.testing.assert_allclose(scene_linear((rgba * 255).astype(np.uint8)), linear, atol=4e-3)


def test_another_working_space_takes_a_matrix():
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    linear = scene_linear(np.array([[[1.0, 0.0, 0.5, 1.0]]], np.float32), swap)
    np.testing.assert_allclose(linear[0, 0], [0, 1, decode_srgb(0.5), 1], atol=1e-6)


def test_depth_counts_from_the_camera_and_is_far_where_nothing_is():
    rgba = np.zeros((1, 2, 4), np.float32)
    rgba[0, 0] = 1
    view = View(np.eye(4), np.eye(3), 2, 1, setback=10.0)
    _, depth = Picture(view, rgba, np.array([[12.5, 0.0]], np.float32)).in_scene()
    np.testing.assert_allclose(depth, [[2.5, FAR]])


def test_the_backend_is_asked_as_the_protocol_says():
    asked = []

    def render(arrays, document):
        asked.append((arrays, document))
        return {"rgba": np.zeros((2, 3, 4), np.uint8), "depth": np.zeros((2, 3), np.float32)}

    picture = fetch_part(render, VIEW, (person(0), person(1)), "uint8", 1)
    assert picture.rgba.shape == (2, 3, 4)
    ((arrays, document),) = asked
    assert document == {"width": 3, "height": 2, "avatars": ["ab" * 32] * 2, "format": "uint8", "depth": True}
    assert arrays["viewmat"].shape == (4, 4) and arrays["K"].shape == (3, 3)
    assert arrays["1.expression"].shape == (100,) and arrays["1.eyes_pose"].shape == (6,)
    assert not np.array_equal(arrays["0.expression"], arrays["1.expression"])
    assert not arrays["0.emotions"].any() and arrays["0.emotions"].shape == (6,)


def test_nobody_is_an_empty_picture_without_asking():
    def render(arrays, document):
        raise AssertionError("the backend was asked")

    picture = fetch_picture(render, VIEW, ())
    assert picture.rgba.shape == (2, 3, 4) and not picture.rgba.any()


def test_a_look_has_a_key():
    same, other = person(0), person(0)
    assert same.key == other.key
    other.pose["jaw_pose"][0] += 1e-4
    assert same.key != other.key


def test_small_avatars_are_drawn_larger_and_reduced():
    """Reducing keeps what a surface covers and where it is; nothing is said twice about what is empty."""
    far = standing(0, 0, 2)
    assert oversampling(VIEW, (far,)) == 4  # 25 pixels a metre
    close = View(np.eye(4), np.diag([3000.0, 3000.0, 1.0]), 300, 200)
    assert oversampling(close, (far,)) == 1
    assert oversampling(View(np.eye(4), VIEW.K, 4096, 4096), (far,)) == 1  # no more than the backend draws

    def render(arrays, document):
        height, width = document["height"], document["width"]
        assert (width, height) == (12, 8) and arrays["K"][0, 0] == 200
        rgba, depth = np.zeros((height, width, 4), np.float32), np.zeros((height, width), np.float32)
        rgba[:, :6], depth[:, :6] = 1.0, 2.0  # up to the middle of the second pixel
        return {"rgba": rgba, "depth": depth}

    picture = fetch_picture(render, VIEW, (far,))
    np.testing.assert_allclose(picture.rgba[0], [[1] * 4, [0.5] * 4, [0] * 4])
    np.testing.assert_allclose(picture.depth[0], [2, 2, 0])


def test_only_the_pixels_that_avatars_may_cover_are_asked_for():
    view = View(np.eye(4), np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]]), 1920, 1080)
    assert visible_part(view, (standing(0, 0, -5),)) is None
    assert visible_part(view, (standing(20, 0, 5),)) is None
    assert visible_part(view, (standing(0, 0, 0.5),)) == (0, 0, 1920, 1080)
    left, top, width, height = visible_part(view, (standing(0.5, 0, 4), standing(0, 0, -5)))
    for direction in np.eye(3):
        for sign in (-0.7, 0.7):
            (pixel,), _ = view.project([direction * sign + (0.5, 0, 4)])
            assert left <= pixel[0] <= left + width and top <= pixel[1] <= top + height
    assert width < 500 and height < 500

    def render(arrays, document):
        assert (document["width"], document["height"]) == (width * 4, height * 4)
        shape = (document["height"], document["width"])
        return {"rgba": np.ones((*shape, 4), np.float32), "depth": np.full(shape, 4.0, np.float32)}

    picture = fetch_picture(render, view, (standing(0.5, 0, 4),))
    assert picture.rgba.shape == (1080, 1920, 4) and picture.rgba[..., 3].sum() == width * height
    assert picture.rgba[top, left, 0] == 1 and picture.depth[top + height - 1, left + width - 1] == 4
