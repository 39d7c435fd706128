"""Eyeballs: spheres with a corneal bulge, rings densest over iris and limbus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.build.identity import IdentitySpace
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Part, ride_affinely

SEGMENTS = 24
# MakeHuman's eyeballs are a quarter larger than real ones (radius 15.6 mm): these angles give an iris of 12 mm.
PUPIL_ANGLE, IRIS_ANGLE = np.radians(8), np.radians(23)
# Polar angles of the rings from the pole of the cornea, densest round pupil and limbus.
RINGS = np.radians([0, 4, 8, 12, 16, 19, 21, 23, 25, 28, 33, 40, 50, 63, 77, 90, 110, 140, 180])
CORNEAL_BULGE = 0.045  # of the radius, at the pole


def uv_radius(angle: np.ndarray) -> np.ndarray:
    """Distance from the centre of the eye's UV disc for a polar angle; the iris gets most of the disc."""
    return 0.5 * (np.asarray(angle) / np.pi) ** 0.6


@dataclass(frozen=True)
class Eyeball:
    """The eyeball of radius 1 looking along +z."""

    vertices: np.ndarray  # [n, 3]
    quads: np.ndarray  # [q, 4]
    uv: np.ndarray  # [t, 2] in [0, 1]: a disc, the back pole spread along its edge
    uv_quads: np.ndarray  # [q, 4]


def unit_eyeball() -> Eyeball:
    longitude = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    vertices, uv = [], []
    rings: list[np.ndarray] = []
    for angle in RINGS:
        is_pole = angle in (RINGS[0], RINGS[-1])
        turn = longitude[:1] if is_pole else longitude
        bulge = 1 + CORNEAL_BULGE * np.cos(min(angle / IRIS_ANGLE, 1) * np.pi / 2)
        ring = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle) + 0 * turn], 1)
        rings.append(np.arange(len(turn)) + sum(len(r) for r in rings))
        vertices.append(bulge * ring)
        turn = longitude + np.pi / SEGMENTS if angle == RINGS[-1] else turn
        uv.append(0.5 + uv_radius(angle) * np.stack([np.cos(turn), np.sin(turn)], 1))
    quads, uv_quads = [], []
    back, behind = int(rings[-1][0]), rings[-2]
    for s in range(SEGMENTS):
        n = (s + 1) % SEGMENTS
        front = [[rings[0][0], rings[1][s], rings[1][n], rings[1][n]]]
        front += [[a[s], b[s], b[n], a[n]] for a, b in zip(rings[1:-2], rings[2:-1], strict=True)]
        quads += [*front, [behind[s], back, behind[n], behind[n]]]
        uv_quads += [*front, [behind[s], back + s, behind[n], behind[n]]]
    return Eyeball(np.concatenate(vertices), np.array(quads), np.concatenate(uv), np.array(uv_quads))


def eyeball(name: str, mh: MakeHuman, identity: IdentitySpace, helper: str, rigid_joint: int) -> Part:
    """An eyeball in place of a helper eye of MakeHuman's; on the mean head it is a sphere that looks straight ahead."""
    anchors = mh.vertex_group(helper)
    centre = identity.mean[anchors].mean(0)
    radius = np.linalg.norm(identity.mean[anchors] - centre, axis=1).mean()
    ball = unit_eyeball()
    carrier = ride_affinely(centre + radius * ball.vertices, anchors, identity.mean)
    return Part(name, carrier, np.zeros_like(ball.vertices), ball.quads, ball.uv, ball.uv_quads, rigid_joint)
