"""Hair that a subject wears: cards fitted to the head, in a colour of their own."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.data.makehuman import base_skin, proxy
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.render.cards import OPAQUE, Cards
from emo_avatar.render.mesh import vertex_normals

NEIGHBOURS = 12  # vertices of the skin that carry a point of hair
REACH = 0.012  # metres by which those farther than the nearest still count
CENTRE_SHARE = 0.6  # of a normal that points away from the skull's centre: strands lie on a round head
TONE_LIMIT = (0.4, 1.6)
OPACITY_GAIN = 1.15


@dataclass(frozen=True)
class Style:
    """A head of hair or a beard."""

    name: str
    common: float
    masculine: float  # how much commoner on men: 1 only on them, 0 only on women, 0.5 alike
    facial: bool = False
    curly: bool = False


STYLES = (
    Style("short01", 1.2, 0.75),
    Style("short02", 1.6, 0.9),
    Style("short03", 0.5, 0.35),
    Style("short04", 1.6, 0.95),
    Style("bob02", 0.2, 0.1),
    Style("afro01", 0.7, 0.5, curly=True),
    Style("long01", 1.6, 0.1),
    Style("ponytail01", 1.8, 0.15),
    Style("Braid01", 0.4, 0.05),
    Style("curly", 0.35, 0.25, curly=True),
    Style("Full_beard", 1.0, 1.0, facial=True),
    Style("Moustache", 0.7, 1.0, facial=True),
)


@dataclass(frozen=True, eq=False)
class FittedHair:
    """Hair on one subject's resting head."""

    cards: Cards
    carriers: np.ndarray  # [P, K] int, vertices of the head
    shares: np.ndarray  # [P, K] float64, rows sum to 1
    facial: bool

    def posed(self, rest: np.ndarray, vertices: np.ndarray, skull: np.ndarray) -> Cards:  # [V, 3], [V, 3], [4, 4]
        """The hair when the head's vertices move from ``rest`` to ``vertices``, the skull by ``skull``.

        What grows on the face follows its skin, what grows on the skull moves with that alone.
        """
        moved = self.cards.moved(skull)
        if not self.facial:
            return moved
        carried = np.einsum("pk,pkc->pc", self.shares, (vertices - rest)[self.carriers])
        return replace(moved, vertices=self.cards.vertices + carried)


@functools.lru_cache(maxsize=16)
def _generic(name: str, facial: bool) -> FittedHair:
    """A style on the mean head."""
    shape, head = proxy(name), open_head()
    base = base_skin()
    own = head.v_template[: len(base)].astype(np.float64)
    outside = np.flatnonzero(~(head.regions["mouth_bag"] | head.regions["eye_sockets"])[: len(base)])
    scale, turn = _similarity(base[outside], own[outside])
    distance, nearest = cKDTree(base[outside]).query(shape.vertices, k=NEIGHBOURS)
    beyond = scale * (distance - distance[:, :1])
    shares = np.exp(-0.5 * (beyond / (REACH / (3 if facial else 1))) ** 2)
    shares /= shares.sum(1, keepdims=True)
    carriers = outside[nearest]
    offset = shape.vertices[:, None] - base[carriers]  # [P, K, 3]
    vertices = np.einsum("pk,pkc->pc", shares, own[carriers] + scale * offset @ turn.T)
    faces = np.concatenate([shape.quads[:, [0, 1, 2]], shape.quads[:, [0, 2, 3]]]).astype(np.int32)
    uv_faces = np.concatenate([shape.uv_quads[:, [0, 1, 2]], shape.uv_quads[:, [0, 2, 3]]]).astype(np.int32)
    texture = _tone_and_opacity(shape.rgba)
    middle = shape.uv[uv_faces].mean(1)
    at = ((1 - middle[:, 1]) % 1 * len(texture)).astype(int), (middle[:, 0] % 1 * texture.shape[1]).astype(int)
    cards = Cards(
        vertices,
        np.zeros_like(vertices),
        _tangents(vertices, faces, shape.uv, uv_faces),
        faces,
        shape.uv.astype(np.float32),
        uv_faces,
        texture,
        texture[at[0].clip(0, len(texture) - 1), at[1].clip(0, texture.shape[1] - 1), 1] > OPAQUE,
    )
    return FittedHair(_with_normals(cards), carriers, shares, facial)


def fit_hair(style: Style, head: HeadData) -> FittedHair:
    """A style on the head of one person."""
    generic = _generic(style.name, style.facial)
    moved = (head.v_template - open_head().v_template).astype(np.float64)
    vertices = generic.cards.vertices + np.einsum("pk,pkc->pc", generic.shares, moved[generic.carriers])
    return replace(generic, cards=_with_normals(replace(generic.cards, vertices=vertices)))


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:  # [N, 3], [N, 3] -> scale, [3, 3]
    """The scale and rotation that take ``a`` to ``b`` best."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    return float(s.sum() / (a**2).sum()), (u @ vt).T


def _with_normals(cards: Cards) -> Cards:
    centre = np.array([0.0, cards.vertices[:, 1].max() - 0.10, -0.005])
    away = cards.vertices - centre
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    own = vertex_normals(cards.vertices, cards.faces)
    own *= np.where((own * away).sum(1, keepdims=True) < 0, -1, 1)
    normals = CENTRE_SHARE * away + (1 - CENTRE_SHARE) * own
    return replace(cards, normals=normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6))


def _tangents(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, uv_faces: np.ndarray) -> np.ndarray:
    """Along the texture's v, in which strands are painted: ``[V, 3]`` unit."""
    e1, e2 = vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    d1, d2 = uv[uv_faces[:, 1]] - uv[uv_faces[:, 0]], uv[uv_faces[:, 2]] - uv[uv_faces[:, 0]]
    determinant = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    along = (d1[:, :1] * e2 - d2[:, :1] * e1) * np.sign(determinant)[:, None]
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], along)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


def _tone_and_opacity(rgba: np.ndarray) -> np.ndarray:  # [h, w, 4] -> [h, w, 2]
    """Strands as brighter or darker than their mean; what colour they are is the wearer's."""
    grey = rgba[..., :3].mean(-1)
    opacity = rgba[..., 3]
    mean = float((grey * opacity).sum() / max(opacity.sum(), 1e-6))
    tone = np.clip((grey + 0.02) / (mean + 0.02), *TONE_LIMIT)
    return np.stack([tone, np.minimum(OPACITY_GAIN * opacity, 1)], -1).astype(np.float32)
