"""Closest points against a brute-force search, and mesh basics."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_avatar.head.surface import Surface, boundary_vertices, closest_points, vertex_normals


def grid(n=6, seed=0):
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    vertices = np.stack([x.ravel(), y.ravel(), rng.normal(0, 0.2, n * n)], axis=1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([
        np.stack([corner, corner + 1, corner + n], 1),
        np.stack([corner + 1, corner + n + 1, corner + n], 1),
    ])  # fmt: skip
    return vertices, faces


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_closest_points_are_the_closest(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = grid(4, seed)
    points = rng.normal(0, 1, (20, 3))
    face, barycentric = closest_points(points, vertices, faces)
    assert np.allclose(barycentric.sum(1), 1) and barycentric.min() >= 0
    found = np.linalg.norm(np.einsum("nb,nbc->nc", barycentric, vertices[faces[face]]) - points, axis=1)
    samples = rng.dirichlet(np.ones(3), 4000)
    on_faces = np.einsum("sb,fbc->fsc", samples, vertices[faces]).reshape(-1, 3)
    best = np.linalg.norm(points[:, None] - on_faces[None], axis=2).min(1)
    assert (found <= best + 1e-9).all()


def test_only_triangles_that_face_the_same_way_are_taken():
    vertices, faces = grid()
    surface = Surface(vertices, faces)
    points = vertices + [0, 0, 0.1]
    assert np.isfinite(surface.closest(points, vertex_normals(vertices, faces)).distance).all()
    assert np.isinf(surface.closest(points, -vertex_normals(vertices, faces)).distance).all()


def test_values_are_interpolated():
    vertices, faces = grid()
    places = Surface(vertices, faces).closest(vertices[7:9])
    assert np.allclose(places.of(vertices, faces), vertices[7:9])
    assert np.allclose(places.of(vertices[:, 0], faces), vertices[7:9, 0])


def test_the_boundary_of_a_grid_is_its_rim():
    vertices, faces = grid(5)
    rim = (np.abs(vertices[:, :2]) == 1).any(1)
    assert np.array_equal(boundary_vertices(faces, len(vertices)), rim)
