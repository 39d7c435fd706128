"""Gaussians on triangles: the frames' axioms, the kernel against PyTorch, and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_avatar.avatar.binding import Footing, bind, pose, quat_from_matrix, triangle_frames
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.head.model import rotation_matrices

FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def mesh(seed: int) -> torch.Tensor:  # [4, 3]
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def cloud(n: int, seed: int) -> tuple[Gaussians, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=1)
    gaussians = Gaussians(
        torch.randn(n, 3, generator=g),
        quats,
        torch.rand(n, 3, generator=g),
        torch.rand(n, generator=g),
        torch.zeros(n, 1, 3),
    )
    return gaussians, torch.randint(0, len(FACES), (n,), generator=g)


def rotation_of(quats: torch.Tensor) -> torch.Tensor:  # [N, 4] -> [N, 3, 3]
    w, xyz = quats[:, :1], quats[:, 1:]
    return rotation_matrices(2 * torch.atan2(xyz.norm(dim=1, keepdim=True), w) * torch.nn.functional.normalize(xyz))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_posing_on_the_mesh_of_binding_gives_the_gaussians_back(seed: int) -> None:
    world, binding = cloud(64, seed)
    vertices = mesh(seed)
    again = pose(bind(world, binding, vertices, FACES), binding, vertices, FACES)
    assert torch.allclose(again.means, world.means, atol=1e-4)
    assert torch.allclose(again.scales, world.scales, atol=1e-5)
    assert (again.quats * world.quats).sum(1).abs().min() > 1 - 1e-5  # q and -q are one rotation


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.5, 2.0))
def test_a_similarity_of_the_mesh_is_the_same_similarity_of_the_gaussians(seed: int, scale: float) -> None:
    world, binding = cloud(64, seed)
    vertices = mesh(seed)
    g = torch.Generator().manual_seed(seed + 1)
    R = rotation_matrices(torch.randn(1, 3, generator=g))[0]  # noqa: N806
    T = torch.randn(3, generator=g)  # noqa: N806
    moved = pose(bind(world, binding, vertices, FACES), binding, scale * vertices @ R.T + T, FACES)
    assert torch.allclose(moved.means, scale * world.means @ R.T + T, atol=1e-3)
    assert torch.allclose(moved.scales, scale * world.scales, atol=1e-3)
    assert torch.allclose(rotation_of(moved.quats), R @ rotation_of(world.quats), atol=1e-3)


def test_the_kernel_agrees_with_the_differentiable_path() -> None:
    world, binding = cloud(500, 3)
    local = bind(world, binding, mesh(3), FACES)
    vertices = mesh(4)
    fused = pose(local, binding, vertices, FACES)
    reference = pose(local, binding, vertices.clone().requires_grad_(), FACES)
    for name in ("means", "quats", "scales"):
        assert torch.allclose(getattr(fused, name), getattr(reference, name), atol=1e-5), name


def test_gradients_reach_the_vertices() -> None:
    world, binding = cloud(20, 5)
    local = bind(world, binding, mesh(5), FACES)
    vertices = mesh(6).double().requires_grad_()
    local = Gaussians(*(getattr(local, n).double() for n in ("means", "quats", "scales", "opacities", "sh")))
    assert torch.autograd.gradcheck(lambda v: pose(local, binding, v, FACES).means, vertices)


def test_a_collapsed_triangle_stays_finite() -> None:
    world, binding = cloud(20, 7)
    local = bind(world, binding, mesh(7), FACES)
    posed = pose(local, binding, torch.zeros(4, 3), FACES)
    assert all(torch.isfinite(getattr(posed, n)).all() for n in ("means", "quats", "scales"))


@pytest.mark.parametrize("seed", range(3))
def test_quaternions_of_all_quadrants(seed: int) -> None:
    R = rotation_matrices(4 * torch.randn(200, 3, generator=torch.Generator().manual_seed(seed)))  # noqa: N806
    assert torch.allclose(rotation_of(quat_from_matrix(R)), R, atol=1e-5)


def test_frames_are_rotations() -> None:
    R, centre, size = triangle_frames(mesh(1), FACES)  # noqa: N806
    assert torch.allclose(R @ R.transpose(1, 2), torch.eye(3).expand(2, 3, 3), atol=1e-6)
    assert torch.allclose(torch.linalg.det(R), torch.ones(2), atol=1e-6)
    assert (size > 0).all() and centre.shape == (2, 3)


def discs(n: int, seed: int, vertices: torch.Tensor) -> tuple[Gaussians, torch.Tensor, torch.Tensor]:
    """Flat Gaussians on the surface, turned about its normal, with their triangles and places there."""
    cloud_of, binding = cloud(n, seed)
    g = torch.Generator().manual_seed(seed + 1)
    barycentric = torch.softmax(2 * torch.randn(n, 3, generator=g), dim=1)
    R = triangle_frames(vertices, FACES)[0][binding]  # noqa: N806
    turn = torch.zeros(n, 3)
    turn[:, 2] = 6 * torch.rand(n, generator=g)
    quats = quat_from_matrix(R @ rotation_matrices(turn))
    means = (vertices[FACES[binding]] * barycentric[:, :, None]).sum(1)
    scales = torch.cat([cloud_of.scales[:, :2] + 0.2, torch.full((n, 1), 1e-3)], 1)
    return Gaussians(means, quats, scales, cloud_of.opacities, cloud_of.sh), binding, barycentric


def covariance(gaussians: Gaussians) -> torch.Tensor:  # [N, 3, 3]
    M = rotation_of(gaussians.quats) * gaussians.scales[:, None]  # noqa: N806
    return M @ M.transpose(1, 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_with_a_footing_discs_are_drawn_out_as_their_triangles_are(seed: int) -> None:
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.2, 0.9, 0.1], [1.1, 1.0, 0.0]])
    world, binding, barycentric = discs(64, seed, vertices)
    local, footing = bind(world, binding, vertices, FACES), Footing.of(vertices, FACES, binding, barycentric)
    again = pose(local, binding, vertices, FACES, footing)
    assert torch.allclose(again.means, world.means, atol=1e-4)
    assert torch.allclose(covariance(again), covariance(world), atol=1e-4)
    stretch = torch.diag(torch.tensor([1.9, 0.8, 1.1]))
    moved = pose(local, binding, vertices @ stretch, FACES, footing)
    assert torch.allclose(moved.means, world.means @ stretch, atol=1e-4)
    assert torch.allclose(covariance(moved), stretch @ covariance(world) @ stretch, atol=1e-3)


def test_with_a_footing_the_kernel_agrees_with_the_differentiable_path() -> None:
    vertices, binding, barycentric = mesh(3), *discs(500, 3, mesh(3))[1:]
    footing, local = Footing.of(vertices, FACES, binding, barycentric), cloud(500, 4)[0]
    moved = vertices + 0.2 * mesh(5)
    fused = pose(local, binding, moved, FACES, footing)
    reference = pose(local, binding, moved.clone().requires_grad_(), FACES, footing)
    assert torch.allclose(fused.means, reference.means, atol=1e-5)
    assert torch.allclose(covariance(fused), covariance(reference), atol=1e-4)


def test_with_a_footing_a_triangle_that_was_collapsed_or_is_stays_finite() -> None:
    world, binding, barycentric = discs(20, 7, mesh(7))
    local = bind(world, binding, mesh(7), FACES)
    for rest, now in ((mesh(7), torch.zeros(4, 3)), (torch.zeros(4, 3), mesh(7))):
        posed = pose(local, binding, now, FACES, Footing.of(rest, FACES, binding, barycentric))
        assert all(torch.isfinite(getattr(posed, n)).all() for n in ("means", "quats", "scales"))
