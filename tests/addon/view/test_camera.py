"""Views from projection matrices, against projecting by the matrix itself."""

import numpy as np
import pytest
from emo_avatar_addon.view.camera import View, border_pixels

rng = np.random.default_rng(7)


def perspective(left, right, bottom, top, near, far):
    return np.array(
        [
            [2 * near / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 * near / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )


def parallel(left, right, bottom, top, near, far):
    return np.array(
        [
            [2 / (right - left), 0, 0, -(right + left) / (right - left)],
            [0, 2 / (top - bottom), 0, -(top + bottom) / (top - bottom)],
            [0, 0, -2 / (far - near), -(far + near) / (far - near)],
            [0, 0, 0, 1],
        ]
    )


def random_view_matrix():
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, rng.normal(size=3)
    return matrix


def by_matrix(projection, view_matrix, width, height, points):
    clip = np.column_stack([points, np.ones(len(points))]) @ (projection @ view_matrix).T
    ndc = clip[:, :2] / clip[:, 3:]
    return np.column_stack([(ndc[:, 0] + 1) * width / 2, (1 - ndc[:, 1]) * height / 2])


def points_before(view_matrix, depth):  # [20, 3] world, within 15 cm of a point at this depth
    return (rng.uniform(-0.15, 0.15, (20, 3)) + (0, 0, -depth)) @ view_matrix[:3, :3] - (
        view_matrix[:3, :3].T @ view_matrix[:3, 3]
    )


@pytest.mark.parametrize("trial", range(10))
def test_perspective_is_exact(trial):
    left, bottom = rng.uniform(-0.2, 0, 2)
    projection = perspective(left, left + rng.uniform(0.01, 0.3), bottom, bottom + rng.uniform(0.01, 0.3), 0.1, 100)
    matrix = random_view_matrix()
    view = View.from_projection(projection, matrix, 1920, 1081)
    points = points_before(matrix, 2.0)
    pixels, depth = view.project(points)
    np.testing.assert_allclose(pixels, by_matrix(projection, matrix, 1920, 1081, points), atol=1e-6)
    np.testing.assert_allclose(depth, -(points @ matrix[:3, :3].T + matrix[:3, 3])[:, 2], atol=1e-9)


@pytest.mark.parametrize("depth", [-3.0, 0.5, 40.0])
def test_parallel_projection_is_within_half_a_pixel(depth):
    projection, matrix = parallel(-0.3, 0.2, -0.25, 0.25, -100, 100), random_view_matrix()
    points = points_before(matrix, depth)
    view = View.from_projection(projection, matrix, 1000, 1000, focus=points.mean(0))
    pixels, depths = view.project(points)
    assert np.abs(pixels - by_matrix(projection, matrix, 1000, 1000, points)).max() < 0.5
    np.testing.assert_allclose(depths, -(points @ matrix[:3, :3].T + matrix[:3, 3])[:, 2], atol=1e-9)


def test_crop_and_scale_move_pixels_with_the_picture():
    matrix = random_view_matrix()
    view = View.from_projection(perspective(-0.1, 0.1, -0.1, 0.1, 0.1, 10), matrix, 640, 480)
    points = points_before(matrix, 2.0)
    whole, _ = view.project(points)
    cropped = view.cropped(100, 50, 200, 300)
    np.testing.assert_allclose(cropped.project(points)[0], whole - (100, 50))
    assert (cropped.width, cropped.height) == (200, 300)
    small = view.scaled(0.333)
    assert (small.width, small.height) == (213, 160)
    np.testing.assert_allclose(small.project(points)[0], whole * (213 / 640, 160 / 480))


def test_border_counts_from_below_and_rounds_down():
    assert border_pixels((0.123, 0.25, 0.777, 1.0), 1920, 1080) == (236, 0, 1255, 810)
