"""Surface frames: exact for linear deformations, and the fused kernel against plain linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.lam_frames import SurfaceFrames, surface_frames
from emo_avatar.avatar.lam_kernels import carry
from emo_avatar.avatar.shading import NUMBERS, SATURATION, fold, light_on, skin_gain
from emo_avatar.render.splat.threads import new_counter

COUNT = 40  # vertices with frames, of a patch with 64


def patch() -> tuple[np.ndarray, np.ndarray]:  # [64, 3], [98, 3]
    """A curved patch of surface the size of a cheek."""
    x, y = np.meshgrid(np.linspace(-0.02, 0.02, 8), np.linspace(-0.02, 0.02, 8))
    z = 0.01 * np.cos(60 * x) + 0.003 * np.sin(150 * y)
    corner = (np.arange(7)[:, None] * 8 + np.arange(7)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 9], 1), np.stack([corner, corner + 9, corner + 8], 1)]
    )
    return np.stack([x, y, z], axis=2).reshape(-1, 3).astype(np.float32), faces


@pytest.fixture(scope="module")
def frames() -> SurfaceFrames:
    return surface_frames(*patch(), COUNT)


def tangents(frames: SurfaceFrames, vertices: np.ndarray) -> np.ndarray:  # [M, 3, 2]
    result = np.zeros((COUNT, 3, 2))
    for i in range(COUNT):
        entries = slice(frames.pointers[i], frames.pointers[i + 1])
        result[i] = vertices[frames.neighbours[entries]].T @ frames.derivatives[entries]
    return result


def test_rest_tangents_are_orthonormal_and_normals_point_outwards(frames: SurfaceFrames) -> None:
    vertices, _ = patch()
    assert np.allclose(np.swapaxes(frames.rest, 1, 2) @ frames.rest, np.eye(3), atol=1e-5)
    assert np.allclose(tangents(frames, vertices), frames.rest[:, :, :2], atol=1e-4)
    assert (frames.rest[:, 2, 2] > 0.5).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_linear_map_of_the_surface_maps_its_tangents(seed: int) -> None:
    vertices, faces = patch()
    built = surface_frames(vertices, faces, COUNT)
    rng = np.random.default_rng(seed)
    A, t = rng.normal(size=(3, 3)), rng.normal(size=3)  # noqa: N806
    assert np.allclose(tangents(built, vertices @ A.T + t), A @ built.rest[:, :, :2], atol=2e-3)


def test_collapsed_triangles_are_finite() -> None:
    vertices, faces = patch()
    vertices[:9] = vertices[0]
    built = surface_frames(vertices, faces, COUNT)
    assert np.isfinite(built.derivatives).all() and np.isfinite(built.rest).all()


def run_carry(frames: SurfaceFrames, vertices: np.ndarray, follow: float, splats, bones, body) -> list[np.ndarray]:
    offsets, quats, scales, colors = splats
    n = len(quats)
    out = [np.empty((n, width), np.float32) for width in (3, 4, 3, 3)]
    weights, moves, turns = bones
    carry(
        new_counter(), vertices, np.zeros((n, 3), np.float32), frames.pointers, frames.neighbours, frames.derivatives,
        frames.rest, np.full(n, follow, np.float32), offsets, quats, scales, colors, weights, moves, turns, *body,
        NUMBERS, *out,
    )  # fmt: skip
    return out


def random_rigid(rng: np.random.Generator, angle: float) -> tuple[np.ndarray, np.ndarray]:  # [3, 4], [4] wxyz
    turn = Rotation.from_rotvec(angle * rng.normal(size=3))
    move = np.concatenate([turn.as_matrix(), 0.1 * rng.normal(size=(3, 1))], axis=1)
    return move.astype(np.float32), turn.as_quat()[[3, 0, 1, 2]].astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), follow=st.sampled_from([0.0, 0.4, 1.0]))
def test_the_kernel_agrees_with_plain_linear_algebra(seed: int, follow: float) -> None:
    vertices, faces = patch()
    built = surface_frames(vertices, faces, COUNT)
    rng = np.random.default_rng(seed)
    deformed = vertices + 0.002 * np.sin(100 * vertices @ rng.normal(size=(3, 3)) + rng.normal(size=3))
    deformed = deformed.astype(np.float32)
    quats = rng.normal(size=(COUNT, 4))
    quats = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32)
    splats = (
        0.01 * rng.normal(size=(COUNT, 3)).astype(np.float32),
        quats,
        rng.uniform(0.001, 0.003, (COUNT, 3)).astype(np.float32),
        rng.uniform(-1, 1, (COUNT, 3)).astype(np.float32),
    )
    bones = [random_rigid(rng, 0.3) for _ in range(2)]
    weights = rng.dirichlet(np.ones(3), COUNT)[:, :2].astype(np.float32)
    moves, turns = np.stack([b[0] for b in bones]), np.stack([b[1] for b in bones])
    body = random_rigid(rng, 1.0)
    means, out_quats, scales, colors = run_carry(built, deformed, follow, splats, (weights, moves, turns), body)

    pair = tangents(built, deformed)
    for i in range(COUNT):
        u, s, vt = np.linalg.svd(pair[i], full_matrices=False)  # polar decomposition: R S
        closest = u @ vt
        frame = np.concatenate([closest, np.cross(closest[:, 0], closest[:, 1])[:, None]], axis=1)
        turn = Rotation.from_matrix(frame @ built.rest[i].T).as_quat()
        turn = Rotation.from_quat(follow * turn * np.sign(turn[3]) + (1 - follow) * np.array([0, 0, 0, 1]))
        own = Rotation.from_quat(quats[i, [1, 2, 3, 0]])
        J = np.concatenate([pair[i], frame[:, 2:]], axis=1) @ built.rest[i].T  # noqa: N806
        stretch = np.clip(np.linalg.norm(J @ own.as_matrix(), axis=0), 0.7, 1.6)
        assert np.allclose(scales[i], splats[2][i] * (1 + follow * (stretch - 1)), rtol=2e-3)

        point = deformed[i] + turn.apply(splats[0][i])
        still = 1 - weights[i].sum()
        point = still * point + sum(w * (m[:, :3] @ point + m[:, 3]) for w, m in zip(weights[i], moves, strict=True))
        assert np.allclose(means[i], body[0][:, :3] @ point + body[0][:, 3], atol=2e-5)

        blend = weights[i] @ turns + still * np.array([1, 0, 0, 0])
        total = Rotation.from_quat(body[1][[1, 2, 3, 0]]) * Rotation.from_quat(blend[[1, 2, 3, 0]]) * turn * own
        assert abs(total.as_quat()[[3, 0, 1, 2]] @ out_quats[i]) / np.linalg.norm(out_quats[i]) > 1 - 1e-5

        before, after = (light_on(NUMBERS, *normal) for normal in (built.rest[i, :, 2], frame[:, 2]))
        gain = skin_gain(NUMBERS, before, after, np.float32(0), fold(NUMBERS, np.float32(1 - s.min())))
        light = 1 + follow * (gain - 1)
        rgb = splats[3][i] * 0.28209479 + 0.5
        vivid = 1 + SATURATION * max(1 - light, 0)
        expected = light * (rgb.mean() + vivid * (rgb - rgb.mean()))
        assert np.allclose(colors[i] * 0.28209479 + 0.5, expected, atol=1e-3)
