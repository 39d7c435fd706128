"""Gaussians that ride on triangles: each lives in the frame of one triangle and goes where the triangle goes.

After Qian et al., "GaussianAvatars: Photorealistic Head Avatars with Rigged 3D Gaussians" (CVPR 2024), Sec. 3.2:
``mu' = k R mu + T``, ``r' = R r``, ``s' = k s``, with R, T, k the rotation, centroid and scale of the triangle. Local
means and scales are therefore in units of the triangle's size.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import torch
from numba.core.dispatcher import Dispatcher

from emo_avatar.avatar.gaussians import Gaussians

_TINY = 1e-12  # keeps collapsed triangles finite; far below any squared length on a head in metres


def bind(world: Gaussians, binding: torch.Tensor, vertices: torch.Tensor, faces: torch.Tensor) -> Gaussians:
    """World-space Gaussians expressed in the frames of the triangles ``binding [N]`` of a mesh.

    The inverse of `pose` on the same ``vertices [V, 3]`` and ``faces [F, 3]``, and computed as that is.
    """
    tensors = (world.means, world.quats, world.scales, vertices)
    if _by_kernel(*tensors):
        means, quats, scales = _by(_bind_kernel, *tensors, faces, binding)
        return replace(world, means=means, quats=quats, scales=scales)
    rotation, centre, size = triangle_frames(vertices, faces)
    R, T, k = rotation[binding], centre[binding], size[binding, None]  # noqa: N806
    means = (R.transpose(1, 2) @ (world.means - T)[:, :, None])[:, :, 0] / k
    quats = quat_multiply(quat_from_matrix(R) * world.quats.new_tensor([1.0, -1.0, -1.0, -1.0]), world.quats)
    return replace(world, means=means, quats=quats, scales=world.scales / k)


def pose(local: Gaussians, binding: torch.Tensor, vertices: torch.Tensor, faces: torch.Tensor) -> Gaussians:
    """Gaussians in triangle frames carried to the world by a deformed mesh.

    ``binding [N]`` int64 holds the triangle of each Gaussian, ``vertices [V, 3]`` metres, ``faces [F, 3]`` int64. On
    the CPU, where nothing needs a gradient, a fused kernel does the work; elsewhere it is differentiable PyTorch.
    """
    tensors = (local.means, local.quats, local.scales, vertices)
    if _by_kernel(*tensors):
        means, quats, scales = _by(_pose_kernel, *tensors, faces, binding)
    else:
        rotation, centre, size = triangle_frames(vertices, faces)
        R, T, k = rotation[binding], centre[binding], size[binding, None]  # noqa: N806
        means = k * (R @ local.means[:, :, None])[:, :, 0] + T
        quats = quat_multiply(quat_from_matrix(R), local.quats)
        scales = k * local.scales
    return replace(local, means=means, quats=quats, scales=scales)


def _by_kernel(*tensors: torch.Tensor) -> bool:
    wants_grad = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return tensors[-1].device.type == "cpu" and not wants_grad


def _by(kernel: Dispatcher, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    *geometry, faces, binding = tensors
    arrays = [np.ascontiguousarray(t.detach().numpy()) for t in (*geometry, faces.long(), binding.long())]
    return tuple(torch.from_numpy(a) for a in kernel(*arrays))


def triangle_frames(
    vertices: torch.Tensor,  # [V, 3]
    faces: torch.Tensor,  # [F, 3]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # [F, 3, 3], [F, 3], [F]
    """Rotation (columns: first edge, in-plane normal to it, normal), centroid and size of every triangle.

    The size is the mean of the first edge's length and the triangle's height over it.
    """
    a, b, c = vertices[faces].unbind(1)
    edge = b - a
    normal = torch.linalg.cross(edge, c - a)
    edge_length = edge.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    double_area = normal.square().sum(-1, keepdim=True).clamp_min(_TINY**2).sqrt()
    e, n = edge / edge_length, normal / double_area
    size = (edge_length + double_area / edge_length) / 2
    return torch.stack([e, torch.linalg.cross(n, e), n], dim=-1), (a + b + c) / 3, size[:, 0]


def quat_multiply(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:  # [..., 4] wxyz
    pw, px, py, pz = p.unbind(-1)
    qw, qx, qy, qz = q.unbind(-1)
    return torch.stack(
        [
            pw * qw - px * qx - py * qy - pz * qz,
            pw * qx + px * qw + py * qz - pz * qy,
            pw * qy - px * qz + py * qw + pz * qx,
            pw * qz + px * qy - py * qx + pz * qw,
        ],
        dim=-1,
    )


def quat_from_matrix(matrix: torch.Tensor) -> torch.Tensor:  # [..., 3, 3] rotations -> [..., 4] wxyz, unit
    """Shepperd's method in its branch-free form: of four candidates the one with the largest divisor is taken."""
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    squared = torch.stack(
        [1 + trace, *(1 - trace + 2 * m[..., i, i] for i in range(3))], dim=-1
    )  # [..., 4] four times each component squared
    best = squared.argmax(-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = torch.stack(
        [
            torch.stack([squared[..., 0], wx, wy, wz], -1),
            torch.stack([wx, squared[..., 1], xy, xz], -1),
            torch.stack([wy, xy, squared[..., 2], yz], -1),
            torch.stack([wz, xz, yz, squared[..., 3]], -1),
        ],
        dim=-2,
    )  # [..., 4, 4] each proportional to the quaternion
    index = best[..., None, None].expand(*best.shape, 1, 4)
    quat = candidates.gather(-2, index)[..., 0, :]
    return quat / quat.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _frames(vertices, faces):  # -> [F, 17] float32: R row-major [9], T [3], k, quaternion [4]
    one = np.float32(1.0)
    half = np.float32(0.5)
    third = np.float32(1.0 / 3.0)
    tiny = np.float32(_TINY)
    n_faces = faces.shape[0]
    frames = np.empty((n_faces, 17), np.float32)
    for f in range(n_faces):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        ex, ey, ez = bx - ax, by - ay, bz - az
        dx, dy, dz = cx - ax, cy - ay, cz - az
        nx, ny, nz = ey * dz - ez * dy, ez * dx - ex * dz, ex * dy - ey * dx
        length = np.sqrt(max(ex * ex + ey * ey + ez * ez, tiny))
        double_area = np.sqrt(max(nx * nx + ny * ny + nz * nz, tiny * tiny))
        ex, ey, ez = ex / length, ey / length, ez / length
        nx, ny, nz = nx / double_area, ny / double_area, nz / double_area
        mx, my, mz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
        frame = frames[f]
        frame[0], frame[1], frame[2] = ex, mx, nx
        frame[3], frame[4], frame[5] = ey, my, ny
        frame[6], frame[7], frame[8] = ez, mz, nz
        frame[9], frame[10], frame[11] = (ax + bx + cx) * third, (ay + by + cy) * third, (az + bz + cz) * third
        frame[12] = (length + double_area / length) * half
        w2, x2, y2, z2 = one + ex + my + nz, one + ex - my - nz, one - ex + my - nz, one - ex - my + nz
        if w2 >= x2 and w2 >= y2 and w2 >= z2:
            qw, qx, qy, qz = w2, mz - ny, nx - ez, ey - mx
        elif x2 >= y2 and x2 >= z2:
            qw, qx, qy, qz = mz - ny, x2, mx + ey, nx + ez
        elif y2 >= z2:
            qw, qx, qy, qz = nx - ez, mx + ey, y2, ny + mz
        else:
            qw, qx, qy, qz = ey - mx, nx + ez, ny + mz, z2
        norm = one / np.sqrt(max(qw * qw + qx * qx + qy * qy + qz * qz, tiny))
        frame[13], frame[14], frame[15], frame[16] = qw * norm, qx * norm, qy * norm, qz * norm
    return frames


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _pose_kernel(means, quats, scales, vertices, faces, binding):
    """`pose` in one pass over the triangles and one over the Gaussians.

    On one thread: it is bound by memory, and waiting for a second thread costs more than that one saves.
    """
    frames = _frames(vertices, faces)
    n = means.shape[0]
    world_means = np.empty((n, 3), np.float32)
    world_quats = np.empty((n, 4), np.float32)
    world_scales = np.empty((n, 3), np.float32)
    for i in range(n):
        frame = frames[binding[i]]
        k = frame[12]
        x, y, z = k * means[i, 0], k * means[i, 1], k * means[i, 2]
        world_means[i, 0] = frame[0] * x + frame[1] * y + frame[2] * z + frame[9]
        world_means[i, 1] = frame[3] * x + frame[4] * y + frame[5] * z + frame[10]
        world_means[i, 2] = frame[6] * x + frame[7] * y + frame[8] * z + frame[11]
        pw, px, py, pz = frame[13], frame[14], frame[15], frame[16]
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        world_quats[i, 0] = pw * qw - px * qx - py * qy - pz * qz
        world_quats[i, 1] = pw * qx + px * qw + py * qz - pz * qy
        world_quats[i, 2] = pw * qy - px * qz + py * qw + pz * qx
        world_quats[i, 3] = pw * qz + px * qy - py * qx + pz * qw
        for axis in range(3):
            world_scales[i, axis] = k * scales[i, axis]
    return world_means, world_quats, world_scales


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _bind_kernel(means, quats, scales, vertices, faces, binding):
    """`bind`, likewise."""
    frames = _frames(vertices, faces)
    n = means.shape[0]
    local_means = np.empty((n, 3), np.float32)
    local_quats = np.empty((n, 4), np.float32)
    local_scales = np.empty((n, 3), np.float32)
    for i in range(n):
        frame = frames[binding[i]]
        k = np.float32(1.0) / frame[12]
        x, y, z = k * (means[i, 0] - frame[9]), k * (means[i, 1] - frame[10]), k * (means[i, 2] - frame[11])
        for axis in range(3):
            local_means[i, axis] = frame[axis] * x + frame[3 + axis] * y + frame[6 + axis] * z
            local_scales[i, axis] = k * scales[i, axis]
        pw, px, py, pz = frame[13], -frame[14], -frame[15], -frame[16]
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        local_quats[i, 0] = pw * qw - px * qx - py * qy - pz * qz
        local_quats[i, 1] = pw * qx + px * qw + py * qz - pz * qy
        local_quats[i, 2] = pw * qy - px * qz + py * qw + pz * qx
        local_quats[i, 3] = pw * qz + px * qy - py * qx + pz * qw
    return local_means, local_quats, local_scales
