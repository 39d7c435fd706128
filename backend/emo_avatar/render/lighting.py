"""Studio light for the mesh view: lamps, shadows, occlusion from the depth buffer, and the display curve."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import MeshFragments, rasterize_mesh


@dataclass(frozen=True)
class Lamp:
    """A soft box at infinity that stands still relative to the camera."""

    direction: tuple[float, float, float]  # right, up, towards the viewer
    colour: tuple[float, float, float]  # linear
    half_size: tuple[float, float]  # tangents of its half width and half height, as its reflection shows it


KEY = Lamp((-0.55, 0.60, 0.80), (1.28, 1.24, 1.18), (0.26, 0.32))
FILL = Lamp((0.85, 0.10, 0.60), (0.36, 0.39, 0.44), (0.14, 0.34))
RIM = Lamp((0.70, 0.55, -0.75), (0.45, 0.47, 0.50), (0.10, 0.10))
LAMPS = (KEY, FILL, RIM)
SKY, GROUND = (0.40, 0.42, 0.46), (0.22, 0.19, 0.17)  # ambient light from above and from below

PENUMBRA = 0.007  # metres, radius over which the key light's shadow is soft
SHADOW_SIZE, SHADOW_DISTANCE = 640, 2.5  # pixels, metres
SHADOW_BIAS = 0.003  # metres
OCCLUSION_RADII = (0.006, 0.022)  # metres: folds and lids; the hollows of the face
KNEE = 0.72  # of full brightness, above which highlights roll off

# Where samples are taken in the unit disc: a golden-angle spiral.
_INDEX = np.arange(10)
_RADIUS = np.sqrt((_INDEX + 0.5) / len(_INDEX))
_ANGLE = _INDEX * np.pi * (3 - np.sqrt(5))
SPIRAL = np.stack([_RADIUS * np.cos(_ANGLE), _RADIUS * np.sin(_ANGLE)], 1)


@dataclass(frozen=True)
class ViewAxes:
    """The camera's axes in the world, in which lamps are given."""

    right: np.ndarray  # [3]
    up: np.ndarray
    towards: np.ndarray  # the viewer

    @classmethod
    def of(cls, camera: Camera) -> ViewAxes:
        rotation = camera.viewmat[:3, :3].astype(np.float32)
        return cls(rotation[0], -rotation[1], -rotation[2])

    def direction(self, lamp: Lamp) -> np.ndarray:  # [3] unit, from the head to the lamp, world
        d = lamp.direction[0] * self.right + lamp.direction[1] * self.up + lamp.direction[2] * self.towards
        return (d / np.linalg.norm(d)).astype(np.float32)

    def ambient(self, normal: np.ndarray) -> np.ndarray:  # [N, 3] -> [N, 3] linear light
        above = (0.5 + 0.5 * normal @ self.up)[:, None]
        return (above * np.array(SKY) + (1 - above) * np.array(GROUND)).astype(np.float32)


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light, float32."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def displayed(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1), highlights rolling off instead of clipping."""
    light = np.maximum(light, 0)
    over = np.maximum(light - KNEE, 0)
    light = np.minimum(light, KNEE) + (1 - KNEE) * (1 - np.exp(-over / (1 - KNEE)))
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def openness(fragments: MeshFragments, normal: np.ndarray, camera: Camera) -> np.ndarray:
    """Screen-space ambient occlusion of the covered pixels, ``[N]``: 1 in the open, 0 in a crevice.

    ``normal [N, 3]`` in the world, towards the viewer.
    """
    out = np.ones(len(normal), np.float32)
    rows, columns = np.nonzero(fragments.covered)
    for radius in OCCLUSION_RADII:
        _openness(
            fragments.depth, normal, camera.viewmat[:3, :3], float(camera.K[0, 0]), rows, columns, SPIRAL, radius, out
        )
    return out


@numba.njit(cache=True, nogil=True)
def _jitter(x, y):
    """An angle that looks random from pixel to pixel (Jimenez's interleaved gradient noise)."""
    return 6.2831853 * ((52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1.0)) % 1.0)


@numba.njit(cache=True, nogil=True)
def _openness(depth, normal, rotation, focal, rows, columns, spiral, radius, out):
    """Multiply ``out`` by the share of the hemisphere that the depth buffer leaves open within ``radius``."""
    height, width = depth.shape
    for i in range(rows.shape[0]):
        y, x = rows[i], columns[i]
        z = depth[y, x]
        reach = radius * focal / z
        # Turning the spiral from pixel to pixel trades banding for noise, which supersampling averages out.
        turn = _jitter(x, y)
        cos_turn, sin_turn = np.cos(turn), np.sin(turn)
        nx, ny, nz = 0.0, 0.0, 0.0  # the normal in camera space
        for c in range(3):
            nx += rotation[0, c] * normal[i, c]
            ny += rotation[1, c] * normal[i, c]
            nz += rotation[2, c] * normal[i, c]
        blocked = 0.0
        for k in range(spiral.shape[0]):
            dx = (spiral[k, 0] * cos_turn - spiral[k, 1] * sin_turn) * reach
            dy = (spiral[k, 0] * sin_turn + spiral[k, 1] * cos_turn) * reach
            sx, sy = int(x + dx + 0.5), int(y + dy + 0.5)
            if sx < 0 or sy < 0 or sx >= width or sy >= height:
                continue
            other = depth[sy, sx]
            if not np.isfinite(other):
                continue
            vx, vy, vz = (sx - x) * z / focal, (sy - y) * z / focal, other - z
            squared = vx * vx + vy * vy + vz * vz + 1e-10
            sine = (vx * nx + vy * ny + vz * nz) / np.sqrt(squared)
            sine -= 0.12  # a margin against the facets of the mesh
            if sine > 0.0:
                blocked += sine / (1.0 + squared / (radius * radius))
        out[i] *= max(0.0, 1.0 - 1.9 * blocked / spiral.shape[0])


def lit_share(
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [F, 3]
    casts: np.ndarray,  # [F] bool, faces that cast shadows
    points: np.ndarray,  # [N, 3]
    normal: np.ndarray,  # [N, 3] of the surface at the points
    towards: np.ndarray,  # [3] unit, to the lamp
) -> np.ndarray:  # [N]
    """How much of a lamp reaches points, from a shadow map."""
    centre = (vertices.max(0) + vertices.min(0)) / 2
    radius = np.linalg.norm(vertices - centre, axis=1).max()
    fov = 2 * np.degrees(np.arcsin(min(radius / SHADOW_DISTANCE, 0.9)))
    yaw, pitch = np.degrees(np.arctan2(towards[0], towards[2])), np.degrees(np.arcsin(np.clip(towards[1], -1, 1)))
    lamp = Camera.orbit(
        centre, SHADOW_DISTANCE, yaw=float(yaw), pitch=float(np.clip(pitch, -89, 89)), fov=fov, size=SHADOW_SIZE
    )
    depth = rasterize_mesh(vertices, faces, lamp, casts).depth
    return _lit_share(depth, points, normal, lamp.viewmat, lamp.K, SPIRAL, PENUMBRA, SHADOW_BIAS)


@numba.njit(cache=True, nogil=True)
def _lit_share(depth, points, normal, viewmat, k, spiral, penumbra, bias):
    """Percentage-closer filtering (Reeves et al. 1987) of a shadow map, against the plane of the surface."""
    height, width = depth.shape
    out = np.empty(points.shape[0], np.float32)
    position, facing = np.empty(3), np.empty(3)  # in the lamp's space
    for i in range(points.shape[0]):
        for r in range(3):
            position[r], facing[r] = viewmat[r, 3], 0.0
            for c in range(3):
                position[r] += viewmat[r, c] * points[i, c]
                facing[r] += viewmat[r, c] * normal[i, c]
        z = position[2]
        u, v = k[0, 0] * position[0] / z + k[0, 2], k[1, 1] * position[1] / z + k[1, 2]
        turn = _jitter(int(u * 8), int(v * 8))
        cos_turn, sin_turn = np.cos(turn) * penumbra, np.sin(turn) * penumbra
        away = min(facing[2], -0.2)  # the lamp looks along +z; grazing surfaces are left to their shading
        lit = 0
        for s in range(spiral.shape[0]):
            dx = spiral[s, 0] * cos_turn - spiral[s, 1] * sin_turn
            dy = spiral[s, 0] * sin_turn + spiral[s, 1] * cos_turn
            x, y = int(u + dx * k[0, 0] / z), int(v + dy * k[0, 0] / z)
            own = z - (facing[0] * dx + facing[1] * dy) / away
            inside = 0 <= x < width and 0 <= y < height
            if not inside or depth[y, x] > own - bias:
                lit += 1
        out[i] = lit / spiral.shape[0]
    return out


@numba.njit(cache=True, nogil=True)
def bilinear(texture, uv):
    """Values ``[N, C]`` of a texture ``[h, w, C]`` at ``uv [N, 2]``, v up."""
    height, width, channels = texture.shape
    out = np.empty((uv.shape[0], channels), np.float32)
    for i in range(uv.shape[0]):
        x = min(max(uv[i, 0] * width - 0.5, 0.0), width - 1.001)
        y = min(max((1.0 - uv[i, 1]) * height - 0.5, 0.0), height - 1.001)
        x0, y0 = int(x), int(y)
        fx, fy = np.float32(x - x0), np.float32(y - y0)
        for c in range(channels):
            top = texture[y0, x0, c] * (1 - fx) + texture[y0, x0 + 1, c] * fx
            bottom = texture[y0 + 1, x0, c] * (1 - fx) + texture[y0 + 1, x0 + 1, c] * fx
            out[i, c] = top * (1 - fy) + bottom * fy
    return out
