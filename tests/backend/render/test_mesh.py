import numpy as np
import pytest

from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import NEAR, rasterize_mesh

RNG = np.random.default_rng(0)


def ray_cast(vertices, faces, camera):  # -> depth [H, W]
    """Slow twin: Moeller-Trumbore at every pixel for every triangle."""
    p = vertices @ camera.viewmat[:3, :3].T.astype(float) + camera.viewmat[:3, 3]
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(camera.K.astype(float)).T
    depth = np.full(rows.shape, np.inf)
    for a, b, c in p[faces]:
        e1, e2 = b - a, c - a
        h = np.cross(rays, e2)
        determinant = h @ e1
        with np.errstate(divide="ignore", invalid="ignore"):
            u = (h @ -a) / determinant
            q = np.cross(-a, e1)
            v = (rays @ q) / determinant
            z = (e2 @ q) / determinant
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (z >= NEAR)
        depth = np.where(hit & (z < depth), z, depth)
    return depth


@pytest.mark.parametrize("distance", [0.8, 0.05])  # the nearer camera stands among the triangles
def test_agrees_with_ray_casting(distance):
    vertices = RNG.normal(scale=0.1, size=(60, 3))
    faces = RNG.integers(0, 60, size=(40, 3))
    camera = Camera.orbit(np.zeros(3), distance, yaw=20, pitch=-10, fov=40, size=64)
    fragments = rasterize_mesh(vertices, faces, camera)
    expected = ray_cast(vertices, faces, camera)
    agree = np.isclose(fragments.depth, expected, rtol=1e-4)
    assert agree.mean() > 0.999  # a pixel centre may lie exactly on an edge
    assert fragments.covered.mean() > 0.1


def test_barycentrics_recover_the_points_seen():
    vertices = RNG.normal(scale=0.1, size=(30, 3))
    faces = RNG.integers(0, 30, size=(20, 3))
    camera = Camera.orbit(np.zeros(3), 0.6, fov=30, size=96)
    fragments = rasterize_mesh(vertices, faces, camera)
    points = fragments.interpolate(vertices, faces)[fragments.covered]
    pixels, depth = camera.project(points)
    rows, columns = np.nonzero(fragments.covered)
    assert np.abs(pixels - np.stack([columns, rows], 1) - 0.5).max() < 1e-2
    assert np.abs(depth - fragments.depth[fragments.covered]).max() < 1e-5


def test_mask_leaves_faces_out_and_nonfinite_vertices_are_ignored():
    vertices = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.1, 0], [0, 0, 0.05], [np.nan, 0, 0]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    camera = Camera.orbit(np.zeros(3), 1.0, size=64)
    assert set(np.unique(rasterize_mesh(vertices, faces, camera).face)) == {-1, 0, 1}
    masked = rasterize_mesh(vertices, faces, camera, np.array([True, False, True]))
    assert set(np.unique(masked.face)) == {-1, 0}


def test_behind_the_camera_nothing_is_seen():
    camera = Camera.orbit(np.zeros(3), 0.5, size=32)
    behind = np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2.0]])
    assert not rasterize_mesh(behind, np.array([[0, 1, 2]]), camera).covered.any()
