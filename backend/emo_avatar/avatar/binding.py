"""Gaussians that ride on triangles: each lives in the frame of one triangle and goes where the triangle goes.

After Qian et al., "GaussianAvatars: Photorealistic Head Avatars with Rigged 3D Gaussians" (CVPR 2024), Sec. 3.2:
``mu' = k R mu + T``, ``r' = R r``, ``s' = k s``, with R, T, k the rotation, centroid and scale of the triangle. Local
means and scales are therefore in units of the triangle's size.

Gaussians that lie on the surface can do better: with `Footing`, they keep their place in the triangle, and their discs
are drawn out and pressed as it is. A lip that is drawn out to the side does not grow thicker, and no two neighbours
part where triangles are stretched unevenly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import torch
from numba.core.dispatcher import Dispatcher

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.quaternions import quat_from_rows

_TINY = 1e-12  # keeps collapsed triangles finite; far below any squared length on a head in metres
_SLIVER = 1e-5  # metres; triangles that are narrower at rest say nothing on how they are drawn out
UNEVEN = 1.15  # ratio of the stretches of a triangle from which its discs are drawn out
MOST_DRAWN = 3.0  # times its size that a disc is drawn out, or pressed


@dataclass(frozen=True)
class Footing:
    """Where Gaussians stand on the triangles that they were bound to."""

    shapes: torch.Tensor  # [F, 3] metres, (x1, x2, y2): in its plane, a triangle's edges were (x1, 0) and (x2, y2)
    places: torch.Tensor  # [N, 2] in units of the triangle's size, from its centroid: the foot of each Gaussian

    @classmethod
    def of(
        cls, vertices: torch.Tensor, faces: torch.Tensor, binding: torch.Tensor, barycentric: torch.Tensor
    ) -> Footing:
        """Of Gaussians over the places ``barycentric [N, 3]`` of the triangles ``binding [N]`` of a mesh."""
        shapes = _shapes(vertices, faces)
        x1, x2, y2 = shapes[binding].unbind(1)
        size = (x1 + y2) / 2
        x = (barycentric[:, 1] * x1 + barycentric[:, 2] * x2 - (x1 + x2) / 3) / size
        y = (barycentric[:, 2] - 1 / 3) * y2 / size
        return cls(shapes, torch.stack([x, y], dim=1))

    def to(self, device: torch.device | str) -> Footing:
        return Footing(self.shapes.to(device), self.places.to(device))


def _shapes(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:  # [..., V, 3], [F, 3] -> [..., F, 3]
    a, b, c = _corners(vertices, faces)
    edge, other = b - a, c - a
    x1 = edge.square().sum(-1).clamp_min(_TINY).sqrt()
    x2 = (edge * other).sum(-1) / x1
    y2 = torch.linalg.cross(edge, other).square().sum(-1).clamp_min(_TINY**2).sqrt() / x1
    return torch.stack([x1, x2, y2], dim=-1)


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
    means = _turned(R.transpose(1, 2), world.means - T) / k
    quats = quat_multiply(quat_from_matrix(R) * world.quats.new_tensor([1.0, -1.0, -1.0, -1.0]), world.quats)
    return replace(world, means=means, quats=quats, scales=world.scales / k)


def pose(
    local: Gaussians,
    binding: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    footing: Footing | None = None,
) -> Gaussians:
    """Gaussians in triangle frames carried to the world by a deformed mesh.

    ``binding [N]`` int64 holds the triangle of each Gaussian, ``vertices [V, 3]`` metres, ``faces [F, 3]`` int64. On
    the CPU, where nothing needs a gradient, a fused kernel does the work; elsewhere it is differentiable PyTorch.
    """
    tensors = (local.means, local.quats, local.scales, vertices)
    if _by_kernel(*tensors):
        nothing = local.means.new_empty((0, 3))
        on = (nothing, nothing) if footing is None else (footing.shapes, footing.places)
        means, quats, scales = _by(_pose_kernel, *tensors, *on, faces, binding)
        return replace(local, means=means, quats=quats, scales=scales)
    means, quats, scales = pose_frames(local, binding, vertices, faces, footing)
    return replace(local, means=means, quats=quats, scales=scales)


def pose_frames(
    local: Gaussians,
    binding: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    footing: Footing | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means ``[..., N, 3]``, quats ``[..., N, 4]`` and scales ``[..., N, 3]`` of `pose` in all the frames of
    ``vertices [..., V, 3]`` at once: to begin an operation costs a GPU more than to do it for one frame."""
    rotation, centre, size = triangle_frames(vertices, faces)
    T, k = centre[..., binding, :], size[..., binding, None]  # noqa: N806
    within, quats, scales = k * local.means, local.quats, k * local.scales
    if footing is not None:
        drawn, normal, uneven = _drawn(footing.shapes, vertices, faces)
        drawn, normal, uneven = drawn[..., binding, :], normal[..., binding, None], uneven[..., binding, None]
        x, y = footing.places.unbind(1)
        foot = torch.stack([drawn[..., 0] * x + drawn[..., 1] * y, drawn[..., 2] * y], dim=-1)
        beside = k * (local.means[:, :2] - footing.places)
        within = torch.cat([foot + beside, within[..., 2:]], dim=-1)
        turned, sizes = _drawn_discs(local, drawn, normal, k)
        quats = torch.where(uneven, turned, quats)
        scales = torch.where(uneven, sizes, scales)
    means = _turned(rotation[..., binding, :, :], within) + T
    return means, quat_multiply(quat_from_matrix(rotation)[..., binding, :], quats), scales


def _turned(rotation: torch.Tensor, points: torch.Tensor) -> torch.Tensor:  # [..., 3, 3], [..., 3] -> [..., 3]
    if points.device.type == "cpu":
        return (rotation @ points[..., None])[..., 0]
    # As a product of matrices it would take a GPU longer, and be in half precision where networks are.
    return (rotation * points[..., None, :]).sum(-1)


def _corners(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:  # [..., V, 3] -> 3 [..., F, 3]
    return tuple(vertices.index_select(-2, corner) for corner in faces.unbind(1))


def _drawn(
    shapes: torch.Tensor, vertices: torch.Tensor, faces: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # [..., F, 3], [..., F], [..., F] bool
    """What deformation does in the plane of each triangle, per unit of its size at rest: (a, b, d) of [[a, b], [0, d]].

    And the same for its normal, and whether it is drawn out unevenly.
    """
    now = _shapes(vertices, faces)
    x1, x2, y2 = shapes.clamp_min(_SLIVER).unbind(1)
    x2 = shapes[:, 1]
    size = (shapes[:, 0] + shapes[:, 2]) / 2
    a, d = now[..., 0] / x1, now[..., 2] / y2
    b = (now[..., 1] - a * x2) / y2
    area = (a * d).clamp_min(_TINY).sqrt()
    even = ((a * a + b * b + d * d) / 2 / area.square()).clamp_min(1)  # (r + 1 / r) / 2 of the stretches' ratio r
    return torch.stack([a, b, d], -1) * size[:, None], area * size, even > (UNEVEN + 1 / UNEVEN) / 2


def _drawn_discs(
    local: Gaussians, drawn: torch.Tensor, normal: torch.Tensor, k: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:  # [..., N, 3], [..., N, 1] twice -> [..., N, 4], [..., N, 3]
    """Orientation in the triangle's frame and size of flat Gaussians whose surface is drawn out."""
    w, x, y, z = torch.nn.functional.normalize(local.quats, dim=1).unbind(1)
    first = torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1) * local.scales[:, :1]
    second = torch.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], 1) * local.scales[:, 1:2]
    a, b, d = drawn.unbind(-1)
    n = normal[..., 0]
    u, v = (torch.stack([a * t[:, 0] + b * t[:, 1], d * t[:, 1], n * t[:, 2]], -1) for t in (first, second))
    uv = (u * v).sum(-1, keepdim=True)
    difference = (u.square() - v.square()).sum(-1, keepdim=True)
    root = (difference.square() + 4 * uv.square()).clamp_min(_TINY**2).sqrt()
    cosine = ((1 + difference / root) / 2).clamp(0, 1).sqrt()
    sine = ((1 - difference / root) / 2).clamp(0, 1).sqrt() * torch.where(uv < 0, -1.0, 1.0)
    long, short = cosine * u + sine * v, cosine * v - sine * u
    length = long.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    up = torch.linalg.cross(long, short)
    up = up / up.square().sum(-1, keepdim=True).clamp_min(_TINY**2).sqrt()
    e = long / length
    f = torch.linalg.cross(up, e)
    across = (short * f).sum(-1, keepdim=True)
    most, least = MOST_DRAWN * k * local.scales[:, :2].amax(1, True), k / MOST_DRAWN * local.scales[:, :2].amin(1, True)
    flat = torch.cat([length.clamp(least, most), across.clamp(least, most)], dim=-1)
    return quat_from_matrix(torch.stack([e, f, up], -1)), torch.cat([flat, normal * local.scales[:, 2:]], -1)


def _by_kernel(*tensors: torch.Tensor) -> bool:
    wants_grad = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return tensors[-1].device.type == "cpu" and not wants_grad


def _by(kernel: Dispatcher, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    *geometry, faces, binding = tensors
    arrays = [np.ascontiguousarray(t.detach().numpy()) for t in (*geometry, faces.long(), binding.long())]
    return tuple(torch.from_numpy(a) for a in kernel(*arrays))


def triangle_frames(
    vertices: torch.Tensor,  # [..., V, 3]
    faces: torch.Tensor,  # [F, 3]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # [..., F, 3, 3], [..., F, 3], [..., F]
    """Rotation (columns: first edge, in-plane normal to it, normal), centroid and size of every triangle.

    The size is the mean of the first edge's length and the triangle's height over it.
    """
    a, b, c = _corners(vertices, faces)
    edge = b - a
    normal = torch.linalg.cross(edge, c - a)
    edge_length = edge.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    double_area = normal.square().sum(-1, keepdim=True).clamp_min(_TINY**2).sqrt()
    e, n = edge / edge_length, normal / double_area
    size = (edge_length + double_area / edge_length) / 2
    return torch.stack([e, torch.linalg.cross(n, e), n], dim=-1), (a + b + c) / 3, size[..., 0]


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
        frame[13], frame[14], frame[15], frame[16] = quat_from_rows(ex, mx, nx, ey, my, ny, ez, mz, nz)
    return frames


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _drawn_frames(shapes, vertices, faces, sliver, uneven, tiny):  # -> [F, 5] float32: as `_drawn` has it
    n_faces = shapes.shape[0]
    drawn = np.empty((n_faces, 5), np.float32)
    half = np.float32(0.5)
    for f in range(n_faces):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ex, ey, ez = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        dx, dy, dz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = ey * dz - ez * dy, ez * dx - ex * dz, ex * dy - ey * dx
        x1 = np.sqrt(max(ex * ex + ey * ey + ez * ez, tiny))
        x2 = (ex * dx + ey * dy + ez * dz) / x1
        y2 = np.sqrt(max(nx * nx + ny * ny + nz * nz, tiny * tiny)) / x1
        size = (shapes[f, 0] + shapes[f, 2]) * half
        a, height = x1 / max(shapes[f, 0], sliver), max(shapes[f, 2], sliver)
        d = y2 / height
        b = (x2 - a * shapes[f, 1]) / height
        area = max(a * d, tiny)
        drawn[f, 0], drawn[f, 1], drawn[f, 2] = a * size, b * size, d * size
        drawn[f, 3] = np.sqrt(area) * size
        drawn[f, 4] = (a * a + b * b + d * d) * half / area - uneven
    return drawn


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _pose_kernel(means, quats, scales, vertices, shapes, places, faces, binding):
    """`pose` in one pass over the triangles and one over the Gaussians.

    On one thread: it is bound by memory, and waiting for a second thread costs more than that one saves.
    """
    one, two, half, tiny = np.float32(1.0), np.float32(2.0), np.float32(0.5), np.float32(_TINY)
    uneven, most = np.float32((UNEVEN + 1 / UNEVEN) / 2), np.float32(MOST_DRAWN)
    footed = places.shape[0] > 0
    frames = _frames(vertices, faces)
    drawn = _drawn_frames(shapes, vertices, faces, np.float32(_SLIVER), uneven, tiny)
    n = means.shape[0]
    world_means = np.empty((n, 3), np.float32)
    world_quats = np.empty((n, 4), np.float32)
    world_scales = np.empty((n, 3), np.float32)
    for i in range(n):
        t = binding[i]
        frame = frames[t]
        k = frame[12]
        x, y, z = k * means[i, 0], k * means[i, 1], k * means[i, 2]
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        for axis in range(3):
            world_scales[i, axis] = k * scales[i, axis]
        if footed:
            a, b, d, normal = drawn[t, 0], drawn[t, 1], drawn[t, 2], drawn[t, 3]
            px, py = places[i, 0], places[i, 1]
            x += (a - k) * px + b * py
            y += (d - k) * py
            if drawn[t, 4] > 0:
                s0, s1 = scales[i, 0], scales[i, 1]
                scale = one / np.sqrt(max(qw * qw + qx * qx + qy * qy + qz * qz, tiny))
                qw, qx, qy, qz = qw * scale, qx * scale, qy * scale, qz * scale
                ux, uy = s0 * (one - two * (qy * qy + qz * qz)), s0 * two * (qx * qy + qw * qz)
                uz = normal * s0 * two * (qx * qz - qw * qy)
                vx, vy = s1 * two * (qx * qy - qw * qz), s1 * (one - two * (qx * qx + qz * qz))
                vz = normal * s1 * two * (qy * qz + qw * qx)
                ux, uy = a * ux + b * uy, d * uy
                vx, vy = a * vx + b * vy, d * vy
                uv = ux * vx + uy * vy + uz * vz
                difference = ux * ux + uy * uy + uz * uz - vx * vx - vy * vy - vz * vz
                root = np.sqrt(max(difference * difference + np.float32(4.0) * uv * uv, tiny * tiny))
                c = np.sqrt(min(max((one + difference / root) * half, np.float32(0.0)), one))
                s = np.sqrt(min(max((one - difference / root) * half, np.float32(0.0)), one))
                s = -s if uv < 0 else s
                ex, ey, ez = c * ux + s * vx, c * uy + s * vy, c * uz + s * vz
                sx, sy, sz = c * vx - s * ux, c * vy - s * uy, c * vz - s * uz
                length = np.sqrt(max(ex * ex + ey * ey + ez * ez, tiny))
                nx, ny, nz = ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx
                area = one / np.sqrt(max(nx * nx + ny * ny + nz * nz, tiny * tiny))
                nx, ny, nz = nx * area, ny * area, nz * area
                ex, ey, ez = ex / length, ey / length, ez / length
                fx, fy, fz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
                across = sx * fx + sy * fy + sz * fz
                largest, smallest = most * k * max(s0, s1), k / most * min(s0, s1)
                world_scales[i, 0] = min(max(length, smallest), largest)
                world_scales[i, 1] = min(max(across, smallest), largest)
                world_scales[i, 2] = normal * scales[i, 2]
                qw, qx, qy, qz = quat_from_rows(ex, fx, nx, ey, fy, ny, ez, fz, nz)
        world_means[i, 0] = frame[0] * x + frame[1] * y + frame[2] * z + frame[9]
        world_means[i, 1] = frame[3] * x + frame[4] * y + frame[5] * z + frame[10]
        world_means[i, 2] = frame[6] * x + frame[7] * y + frame[8] * z + frame[11]
        pw, px, py, pz = frame[13], frame[14], frame[15], frame[16]
        world_quats[i, 0] = pw * qw - px * qx - py * qy - pz * qz
        world_quats[i, 1] = pw * qx + px * qw + py * qz - pz * qy
        world_quats[i, 2] = pw * qy - px * qz + py * qw + pz * qx
        world_quats[i, 3] = pw * qz + px * qy - py * qx + pz * qw
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
