"""A jumper from the collar down: portraits seldom end at the neck."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from emo_avatar.data.makehuman import skin_index
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.render.cards import Cards
from emo_avatar.render.lighting import linear
from emo_avatar.render.mesh import vertex_normals

AROUND, DOWN = 72, 26  # vertices round the body and from the collar to below the chest
LENGTH = 0.30  # metres
SHOULDER_DROP = 0.028  # metres from the neck to the shoulder
THICKNESS = 0.004  # metres, of the cloth
RIB = 3  # rows of the neckband
TEXTURE = 128


@dataclass(frozen=True)
class Clothes:
    """What somebody wears."""

    colour: tuple[float, float, float]  # linear light
    width: float  # metres from the middle to a shoulder
    depth: float  # metres from the middle of the body to the chest
    stripes: float  # contrast
    knit: float  # contrast


def draw_clothes(rng: np.random.Generator, masculine: float) -> Clothes:
    """Clothes of any colour, more often of a quiet one."""
    level, vivid = rng.uniform(0.06, 0.9), abs(rng.normal(0, 0.07))
    hue = rng.normal(0, 1, 3)
    srgb = np.clip(level + vivid * (hue - hue.mean()), 0.03, 0.95)
    red, green, blue = (float(c) for c in linear(srgb))
    return Clothes(
        (red, green, blue),
        width=float(rng.normal(0.185 + 0.025 * masculine, 0.010)),
        depth=float(rng.normal(0.115, 0.008)),
        stripes=float(rng.uniform(0.2, 0.6) if rng.random() < 0.15 else 0.0),
        knit=float(rng.uniform(0.02, 0.10)),
    )


def fit_clothes(clothes: Clothes, head: HeadData) -> Cards:
    """The clothes on one person's collar, unposed."""
    rim = head.v_template[_rim()].astype(np.float64)
    middle = np.array([0.0, 0.0, rim[:, 2].mean()])
    angle = np.arctan2(rim[:, 0], rim[:, 2] - middle[2])
    order = np.argsort(angle)
    round_ = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    collar = np.stack([np.interp(round_, angle[order], rim[order, c], period=2 * np.pi) for c in range(3)], 1)
    c, s = np.cos(round_), np.sin(round_)
    reach = (np.abs(s / clothes.width) ** 2.6 + np.abs(c / clothes.depth) ** 2.6) ** (-1 / 2.6)
    body = middle + np.stack([reach * s, 0 * s, reach * c - 0.012], 1)
    rows = []
    for t in np.linspace(0, 1, DOWN):
        out = np.sin(np.pi / 2 * min(t / 0.55, 1.0))
        row = collar + out * (body - collar)
        row[:, 1] = collar[:, 1] + THICKNESS - SHOULDER_DROP * out - LENGTH * max(t - 0.30, 0) ** 1.7 / 0.7**1.7
        rows.append(row)
    vertices = np.concatenate(rows)
    faces = _faces()
    normals = vertex_normals(vertices, faces)
    outwards = vertices - [0, vertices[:, 1].min(), middle[2]]
    normals *= np.sign((normals * outwards).sum(1, keepdims=True).mean())
    uv = np.stack([np.tile(np.linspace(0, 6, AROUND), DOWN), np.repeat(np.linspace(1, 0, DOWN), AROUND)], 1)
    return Cards(
        vertices,
        normals,
        np.zeros_like(vertices),
        faces,
        uv.astype(np.float32),
        faces,
        _cloth(clothes),
        np.ones(len(faces), bool),
    )


def _cloth(clothes: Clothes) -> np.ndarray:  # -> [TEXTURE, TEXTURE, 2] tone and opacity
    y, x = np.mgrid[:TEXTURE, :TEXTURE] / TEXTURE
    tone = 1 + clothes.knit * np.sin(2 * np.pi * 32 * x) * (0.6 + 0.4 * np.sin(2 * np.pi * 32 * y))
    tone *= 1 - clothes.stripes * (np.sin(2 * np.pi * 9 * y) > 0.2)
    tone *= np.where(y * (DOWN - 1) < RIB, 0.86 + 0.10 * np.sin(2 * np.pi * 16 * x), 1.0)
    return np.stack([tone, np.ones_like(tone)], -1).astype(np.float32)


@functools.cache
def _rim() -> np.ndarray:  # [R] int, vertices of the head's lower edge
    """The skin's vertices that touch the cap below the collar, which are those that come from no base vertex."""
    head = open_head()
    of_base = len(skin_index())
    faces = head.faces[head.face_part == head.part_names.index("skin")]
    is_cap = faces >= of_base
    mixed = is_cap.any(1) & ~is_cap.all(1)
    return np.unique(faces[mixed][~is_cap[mixed]])


@functools.cache
def _faces() -> np.ndarray:  # [F, 3] int32
    ring, row = np.meshgrid(np.arange(AROUND), np.arange(DOWN - 1))
    a = (row * AROUND + ring).ravel()
    b = (row * AROUND + (ring + 1) % AROUND).ravel()
    return np.concatenate([np.stack([a, a + AROUND, b], 1), np.stack([b, a + AROUND, b + AROUND], 1)]).astype(np.int32)
