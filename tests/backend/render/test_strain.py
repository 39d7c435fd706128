import numpy as np

from emo_avatar.render.strain import shortening


def sheet(n=6):
    """A square in the frontal plane, as triangles."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + n], 1), np.stack([corner + 1, corner + n + 1, corner + n], 1)]
    )
    return vertices, faces


def test_each_direction_is_told_from_the_other():
    vertices, faces = sheet()
    for axis, column in ((1, 0), (0, 1)):  # up and down comes first
        scale = np.ones(3)
        scale[axis] = 0.7
        short = shortening(vertices, vertices * scale, faces)
        assert np.allclose(short[:, column], 0.3) and np.allclose(short[:, 1 - column], 0)
        assert np.allclose(short[:, 2], 0.3)


def test_turning_moving_and_stretching_shorten_nothing():
    vertices, faces = sheet()
    c, s = np.cos(0.8), np.sin(0.8)
    turned = vertices @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + [1, 2, 3]
    assert np.abs(shortening(vertices, turned, faces)).max() < 1e-7
    assert np.abs(shortening(vertices, 1.2 * vertices, faces)).max() < 1e-7


def test_a_slanted_compression_shows_most_in_its_own_direction():
    vertices, faces = sheet()
    across = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    squeezed = vertices - 0.4 * (vertices @ across)[:, None] * across
    short = shortening(vertices, squeezed, faces)
    assert np.allclose(short[:, 2], 0.4) and short[:, :2].max() < 0.4
