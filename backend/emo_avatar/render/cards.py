"""Hair as textured cards: translucent triangles, drawn over a head from the farthest to the nearest.

Strands reflect light as cylinders do, which a card's own normal knows nothing of (Kajiya and Kay, "Rendering fur with
three dimensional textures", 1989; two highlights after Marschner et al. 2003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.light_kernels import mixed_texel, texel
from emo_avatar.render.lighting import Light, ViewAxes
from emo_avatar.render.mesh import NEAR
from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.threads import claim, share_out

STRIP = 64  # rows that a thread claims at a time
OPAQUE = 0.5  # opacity from which a triangle casts a shadow
FAINT = 0.02  # opacity below which nothing is drawn
LIFT = 0.003  # metres that a surface must stand before hair to hide it: a scalp does not come through its hair
SHADOW_BIAS = 0.008  # metres: hair is no solid surface, light enters it
WRAP = 0.5
SHARP, SOFT = 80.0, 14.0  # exponents of the two highlights
SHARP_GAIN, SOFT_GAIN = 0.10, 0.34


@dataclass(frozen=True, eq=False)
class Cards:
    """A mesh of hair, unposed or in the world."""

    vertices: np.ndarray  # [V, 3] metres
    normals: np.ndarray  # [V, 3] unit, away from the head
    tangents: np.ndarray  # [V, 3] unit, along the strands
    faces: np.ndarray  # [F, 3] int32
    uv: np.ndarray  # [T, 2] float32, v up
    uv_faces: np.ndarray  # [F, 3] int32
    texture: np.ndarray  # [h, w, 2] float32: tone, 1 on average; opacity
    casts: np.ndarray  # [F] bool, opaque enough for a shadow

    def moved(self, transform: np.ndarray) -> Cards:  # [4, 4] rigid
        """The cards elsewhere."""
        turn = transform[:3, :3]
        return replace(
            self,
            vertices=self.vertices @ turn.T + transform[:3, 3],
            normals=self.normals @ turn.T,
            tangents=self.tangents @ turn.T,
        )


def strand_light(
    cards: Cards,
    camera: Camera,
    light: Light,
    pigment: np.ndarray,  # [3] linear light
    lit: np.ndarray,  # [V] share of the key light
    shine: float = 1.0,
) -> np.ndarray:  # [V, 6] float32
    """Light off each vertex: spread, which takes the texture's tone, and mirrored."""
    axes = ViewAxes.of(camera)
    outward = camera.position - cards.vertices
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    spread = 0.8 * light.ambient_on(axes, cards.normals)
    mirrored = np.zeros_like(spread)
    reach = [lit, np.ones(len(lit)), np.ones(len(lit))]
    for lamp, share in zip(light.lamps, reach, strict=True):
        towards = axes.direction(lamp)
        colour = np.array(lamp.colour, np.float32)
        facing = np.clip((cards.normals @ towards + WRAP) / (1 + WRAP), 0, 1)
        sine = np.sqrt(np.clip(1 - (cards.tangents @ towards) ** 2, 0, 1))
        spread += np.outer(share * facing * (0.35 + 0.65 * sine), colour)
        half = outward + towards
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        across = np.sqrt(np.clip(1 - (cards.tangents * half).sum(1) ** 2, 0, 1))
        gloss = share * facing
        mirrored += np.outer(gloss * SHARP_GAIN * across**SHARP, colour)
        mirrored += np.outer(gloss * SOFT_GAIN * across**SOFT, colour * np.sqrt(pigment))
    return np.concatenate([spread * pigment, shine * mirrored], 1).astype(np.float32)


def lit_share(cards: Cards, lamp: Camera, shadow: np.ndarray) -> np.ndarray:  # [S, S] depth -> [V] in [0, 1]
    """How much of the key light each vertex gets."""
    (u, v), depth = (array.T for array in lamp.project(cards.vertices))
    share = np.zeros(len(depth))
    for dx, dy in ((-2, -1), (2, 1), (-1, 2), (1, -2), (0, 0)):
        column, row = ((at + d).astype(int).clip(0, lamp.width - 1) for at, d in ((u, dx), (v, dy)))
        share += (shadow[row, column] > depth - SHADOW_BIAS) / 5
    return share


def draw_cards(
    cards: Cards,
    light: np.ndarray,  # [V, 6] `strand_light`
    camera: Camera,
    depth: np.ndarray,  # [H, W] metres, what stands before the hair hides it
    picture: np.ndarray,  # [H, W, 4] float32 linear light and opacity, premultiplied; is drawn on
) -> None:
    """Blend hair over a picture."""
    view = camera.viewmat.astype(np.float64)
    points = cards.vertices @ view[:3, :3].T + view[:3, 3]
    order = np.argsort(-points[:, 2][cards.faces].mean(1), kind="stable")
    projected = np.empty((len(points), 3), np.float32)
    z = np.maximum(points[:, 2], NEAR)
    projected[:, 0] = camera.K[0, 0] * points[:, 0] / z + camera.K[0, 2]
    projected[:, 1] = camera.K[1, 1] * points[:, 1] / z + camera.K[1, 2]
    projected[:, 2] = points[:, 2]
    arrays = (cards.faces, cards.uv, cards.uv_faces, cards.texture, light, depth, picture)
    share_out(_draw, order, projected, *arrays)


@kernel
def _draw(counter, order, points, faces, uv, uv_faces, texture, light, depth, picture):
    height, width = depth.shape
    one, zero, lift = np.float32(1), np.float32(0), np.float32(LIFT)
    while True:
        top = claim(counter) * STRIP
        if top >= height:
            break
        bottom = min(top + STRIP, height)
        for k in range(len(order)):
            t = order[k]
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            if points[a, 2] <= NEAR or points[b, 2] <= NEAR or points[c, 2] <= NEAR:
                continue
            ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
            cx, cy = points[c, 0], points[c, 1]
            y0 = max(int(math.ceil(min(ay, by, cy) - 0.5)), top)
            y1 = min(int(math.floor(max(ay, by, cy) - 0.5)) + 1, bottom)
            if y0 >= y1:
                continue
            x0 = max(int(math.ceil(min(ax, bx, cx) - 0.5)), 0)
            x1 = min(int(math.floor(max(ax, bx, cx) - 0.5)) + 1, width)
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area == 0 or x0 >= x1:
                continue
            inverse = one / area
            az, bz, cz = one / points[a, 2], one / points[b, 2], one / points[c, 2]
            for y in range(y0, y1):
                py = np.float32(y + 0.5)
                for x in range(x0, x1):
                    px = np.float32(x + 0.5)
                    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                    wc = one - wa - wb
                    if wa < zero or wb < zero or wc < zero:
                        continue
                    z = one / (wa * az + wb * bz + wc * cz)
                    if z >= depth[y, x] + lift:
                        continue
                    wa, wb, wc = wa * az * z, wb * bz * z, wc * cz * z
                    ta, tb, tc = uv_faces[t, 0], uv_faces[t, 1], uv_faces[t, 2]
                    u = wa * uv[ta, 0] + wb * uv[tb, 0] + wc * uv[tc, 0]
                    v = wa * uv[ta, 1] + wb * uv[tb, 1] + wc * uv[tc, 1]
                    tx, ty, fx, fy = texel(texture, u - math.floor(u), v - math.floor(v))
                    opacity = mixed_texel(texture, tx, ty, fx, fy, 1)
                    if opacity < FAINT:
                        continue
                    tone = mixed_texel(texture, tx, ty, fx, fy, 0)
                    behind = one - opacity
                    for i in range(3):
                        spread = wa * light[a, i] + wb * light[b, i] + wc * light[c, i]
                        mirrored = wa * light[a, i + 3] + wb * light[b, i + 3] + wc * light[c, i + 3]
                        colour = tone * (spread + tone * mirrored)
                        picture[y, x, i] = picture[y, x, i] * behind + colour * opacity
                    picture[y, x, 3] = picture[y, x, 3] * behind + opacity
