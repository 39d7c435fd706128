"""The inner loops of posing a LAM avatar: morph the mesh, turn each splat with the surface, follow neck and head.

Threads that run a kernel together share a counter and claim pieces of the work from it.
"""

from __future__ import annotations

import math

import numpy as np

from emo_avatar.avatar.gaussians import SH_C0
from emo_avatar.avatar.quaternions import quat_from_rows, unit
from emo_avatar.avatar.shading import fold, light_on, saturation, skin_gain
from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.threads import claim

_MORPH_PIECE = 2048  # floats: with one target's slice they stay in the first-level cache
_CARRY_PIECE = 512  # splats
_TINY = np.float32(1e-12)
_FLAT = np.float32(1e-5)  # area ratio below which triangles have collapsed and tell no direction
# A splat follows its surface's stretch only this far: beyond, it would show as a streak or vanish.
_MIN_STRETCH, _MAX_STRETCH = np.float32(0.7), np.float32(1.6)
_GREY = np.float32(0.5 / SH_C0)  # what a degree-0 coefficient of zero stands for, in units of the coefficient
_THIRD = np.float32(1 / 3)


@kernel
def morph(counter, deltas, units, weights, vertices):
    """Adds ``sum_k weights[k] deltas[units[k]]`` to the first ``deltas.shape[1]`` numbers of ``vertices``; all flat."""
    total = deltas.shape[1]
    while True:
        start = claim(counter) * _MORPH_PIECE
        if start >= total:
            break
        stop = min(start + _MORPH_PIECE, total)
        for k in range(len(units)):
            delta = deltas[units[k]]
            weight = weights[k]
            for j in range(start, stop):
                vertices[j] += weight * delta[j]


@kernel
def carry(
    counter,
    vertices,  # [V, 3] morphed mesh
    centers,  # [N, 3] of splats; the first M are not read
    pointers,  # [M + 1]
    neighbours,  # [E]
    derivatives,  # [E, 2]
    rest,  # [M, 3, 3] columns: tangents, normal
    follow,  # [M] how much of the surface's motion a splat takes, 0 to 1
    offsets,  # [M, 3]
    quats,  # [N, 4] unit
    scales,  # [N, 3]
    colors,  # [N, 3] SH coefficients of degree 0
    chain_weights,  # [N, C]
    chain_moves,  # [C, 3, 4] bone motions from bind pose
    chain_quats,  # [C, 4] their rotations
    body_move,  # [3, 4] what moves everything
    body_quat,  # [4]
    skin,  # [10] `shading.NUMBERS`
    means_out,  # [N, 3]
    quats_out,  # [N, 4]
    scales_out,  # [N, 3]
    colors_out,  # [N, 3]
):
    """Splats carried by the mesh and by bones.

    Splats 0 to M lie ``offsets`` away from the vertices of the moving face; they turn, stretch and are lit with it. The
    others only follow the bones.
    """
    one, half, zero = np.float32(1.0), np.float32(0.5), np.float32(0.0)
    n_face = len(follow)
    while True:
        start = claim(counter) * _CARRY_PIECE
        if start >= len(centers):
            break
        for i in range(start, min(start + _CARRY_PIECE, len(centers))):
            px, py, pz = centers[i, 0], centers[i, 1], centers[i, 2]
            qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
            s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
            gain = one
            if i < n_face:
                ox, oy, oz = offsets[i, 0], offsets[i, 1], offsets[i, 2]
                w = follow[i]
                if w > zero:
                    ax = ay = az = bx = by = bz = zero
                    for e in range(pointers[i], pointers[i + 1]):
                        j = neighbours[e]
                        da, db = derivatives[e, 0], derivatives[e, 1]
                        x, y, z = vertices[j, 0], vertices[j, 1], vertices[j, 2]
                        ax += da * x
                        ay += da * y
                        az += da * z
                        bx += db * x
                        by += db * y
                        bz += db * z
                    ee = ax * ax + ay * ay + az * az
                    ff = ax * bx + ay * by + az * bz
                    gg = bx * bx + by * by + bz * bz
                    area = math.sqrt(max(ee * gg - ff * ff, _TINY))
                    if area > _FLAT:
                        # The rotation closest to the tangents: [a b] (first fundamental form)^(-1/2), closed for 2 x 2.
                        norm = one / (area * math.sqrt(ee + gg + area + area))
                        ca, cf, cb = (gg + area) * norm, ff * norm, (ee + area) * norm
                        r00, r10, r20 = ca * ax - cf * bx, ca * ay - cf * by, ca * az - cf * bz
                        r01, r11, r21 = cb * bx - cf * ax, cb * by - cf * ay, cb * bz - cf * az
                        r02, r12, r22 = r10 * r21 - r20 * r11, r20 * r01 - r00 * r21, r00 * r11 - r10 * r01
                        f = rest[i]
                        half_trace = half * (ee + gg)
                        spread = math.sqrt(max(half_trace * half_trace - area * area, zero))
                        squeeze = math.sqrt(max(half_trace - spread, zero))  # the smaller singular value of [a b]
                        before, after = light_on(skin, f[0, 2], f[1, 2], f[2, 2]), light_on(skin, r02, r12, r22)
                        gain += w * (skin_gain(skin, before, after, zero, fold(skin, one - squeeze)) - one)
                        tw, tx, ty, tz = quat_from_rows(
                            r00 * f[0, 0] + r01 * f[0, 1] + r02 * f[0, 2],
                            r00 * f[1, 0] + r01 * f[1, 1] + r02 * f[1, 2],
                            r00 * f[2, 0] + r01 * f[2, 1] + r02 * f[2, 2],
                            r10 * f[0, 0] + r11 * f[0, 1] + r12 * f[0, 2],
                            r10 * f[1, 0] + r11 * f[1, 1] + r12 * f[1, 2],
                            r10 * f[2, 0] + r11 * f[2, 1] + r12 * f[2, 2],
                            r20 * f[0, 0] + r21 * f[0, 1] + r22 * f[0, 2],
                            r20 * f[1, 0] + r21 * f[1, 1] + r22 * f[1, 2],
                            r20 * f[2, 0] + r21 * f[2, 1] + r22 * f[2, 2],
                        )
                        if tw < zero:
                            tw, tx, ty, tz = -tw, -tx, -ty, -tz
                        tw, tx, ty, tz = unit(w * tw + (one - w), w * tx, w * ty, w * tz)  # towards identity
                        ox, oy, oz = _rotate(tw, tx, ty, tz, ox, oy, oz)
                        # Tangents seen from the splat: u0 is the first tangent's part along splat axis 0, and so on.
                        u0, u1, u2 = _rotate(qw, -qx, -qy, -qz, f[0, 0], f[1, 0], f[2, 0])
                        v0, v1, v2 = _rotate(qw, -qx, -qy, -qz, f[0, 1], f[1, 1], f[2, 1])
                        s0 *= one + w * (_stretch(u0, v0, ee, ff, gg) - one)
                        s1 *= one + w * (_stretch(u1, v1, ee, ff, gg) - one)
                        s2 *= one + w * (_stretch(u2, v2, ee, ff, gg) - one)
                        qw, qx, qy, qz = _multiply(tw, tx, ty, tz, qw, qx, qy, qz)
                px, py, pz = vertices[i, 0] + ox, vertices[i, 1] + oy, vertices[i, 2] + oz
            still = one
            mx = my = mz = gw = gx = gy = gz = zero
            for c in range(chain_weights.shape[1]):
                w = chain_weights[i, c]
                if w > zero:
                    m = chain_moves[c]
                    still -= w
                    mx += w * (m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3])
                    my += w * (m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3])
                    mz += w * (m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3])
                    gw += w * chain_quats[c, 0]
                    gx += w * chain_quats[c, 1]
                    gy += w * chain_quats[c, 2]
                    gz += w * chain_quats[c, 3]
            px, py, pz = mx + still * px, my + still * py, mz + still * pz
            gw, gx, gy, gz = unit(gw + still, gx, gy, gz)
            gw, gx, gy, gz = _multiply(body_quat[0], body_quat[1], body_quat[2], body_quat[3], gw, gx, gy, gz)
            qw, qx, qy, qz = _multiply(gw, gx, gy, gz, qw, qx, qy, qz)
            mean = (colors[i, 0] + colors[i, 1] + colors[i, 2]) * _THIRD
            vivid = saturation(skin, gain)
            for k in range(3):
                b = body_move[k]
                means_out[i, k] = b[0] * px + b[1] * py + b[2] * pz + b[3]
                colors_out[i, k] = gain * (mean + vivid * (colors[i, k] - mean)) + (gain - one) * _GREY
            quats_out[i, 0], quats_out[i, 1], quats_out[i, 2], quats_out[i, 3] = qw, qx, qy, qz
            scales_out[i, 0], scales_out[i, 1], scales_out[i, 2] = s0, s1, s2


@kernel
def _stretch(x, y, ee, ff, gg):
    """Length, after the surface's deformation, of a unit vector with tangent parts ``x, y``; its normal part keeps."""
    one, two = np.float32(1.0), np.float32(2.0)
    squared = one + x * x * (ee - one) + two * x * y * ff + y * y * (gg - one)
    return min(max(math.sqrt(max(squared, _TINY)), _MIN_STRETCH), _MAX_STRETCH)


@kernel
def _rotate(w, x, y, z, vx, vy, vz):
    """A vector turned by a unit quaternion."""
    two = np.float32(2.0)
    tx, ty, tz = two * (y * vz - z * vy), two * (z * vx - x * vz), two * (x * vy - y * vx)
    return vx + w * tx + y * tz - z * ty, vy + w * ty + z * tx - x * tz, vz + w * tz + x * ty - y * tx


@kernel
def _multiply(pw, px, py, pz, qw, qx, qy, qz):
    """The product of two quaternions, wxyz."""
    return (
        pw * qw - px * qx - py * qy - pz * qz,
        pw * qx + px * qw + py * qz - pz * qy,
        pw * qy - px * qz + py * qw + pz * qx,
        pw * qz + px * qy - py * qx + pz * qw,
    )
