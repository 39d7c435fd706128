"""Procedural noise in space: a texture painted from it has no seams, however the surface is unwrapped."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def _hash(x, y, z, seed):
    """A pseudo-random number in [0, 1) of a lattice point."""
    h = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(2246822519)
    return ((h ^ (h >> np.uint32(15))) & np.uint32(0xFFFFFF)) / 16777216.0


@numba.njit(cache=True)
def _value_noise(points, seed, out):
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        fx, fy, fz = x - x0, y - y0, z - z0
        fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
        total = 0.0
        for dx in range(2):
            wx = fx if dx else 1 - fx
            for dy in range(2):
                wy = fy if dy else 1 - fy
                for dz in range(2):
                    wz = fz if dz else 1 - fz
                    total += wx * wy * wz * _hash(x0 + dx, y0 + dy, z0 + dz, seed)
        out[i] = total


@numba.njit(cache=True)
def _cells(points, seed, distance, identity):
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        best, chosen = 1e9, 0.0
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    cx, cy, cz = x0 + dx, y0 + dy, z0 + dz
                    px = cx + _hash(cx, cy, cz, seed) - x
                    py = cy + _hash(cx, cy, cz, seed + 1) - y
                    pz = cz + _hash(cx, cy, cz, seed + 2) - z
                    d = px * px + py * py + pz * pz
                    if d < best:
                        best, chosen = d, _hash(cx, cy, cz, seed + 3)
        distance[i] = np.sqrt(best)
        identity[i] = chosen


def value_noise(points: np.ndarray, size: float, seed: int, octaves: int = 1) -> np.ndarray:  # [N, 3] -> [N]
    """Smooth noise round 0 with features of ``size`` (in the units of ``points``); octaves halve size and height."""
    total, height = np.zeros(len(points)), 0.0
    out = np.empty(len(points))
    for octave in range(octaves):
        _value_noise(np.asarray(points / size * 2**octave, np.float64) + 1000.0, seed + 101 * octave, out)
        total += (out - 0.5) * 2 / 2**octave
        height += 1 / 2**octave
    return total / height


def cells(points: np.ndarray, size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:  # [N, 3] -> [N], [N]
    """Distance to the nearest of random points about ``size`` apart, in units of it, and that point's random number.

    After Worley, "A cellular texture basis function" (1996).
    """
    distance, identity = np.empty(len(points)), np.empty(len(points))
    _cells(np.asarray(points / size, np.float64) + 1000.0, seed, distance, identity)
    return distance, identity
