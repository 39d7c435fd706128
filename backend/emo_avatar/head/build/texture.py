"""Paints the 2K colour texture of the open head: skin tones, lips, brows, stubble, eyes, teeth.

Every colour is a function of a point on the mean head (metres) and of a few masks, so the paint knows nothing of UVs.
Colours are written as sRGB and mixed in linear light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from emo_avatar.head.build.atlas import CELLS
from emo_avatar.head.build.brows import BrowStrokes
from emo_avatar.head.build.eyes import IRIS_ANGLE, PUPIL_ANGLE
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.noise import cells, value_noise
from emo_avatar.head.build.occlusion import ambient_occlusion
from emo_avatar.head.build.regions import HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT
from emo_avatar.head.build.teeth import crown_height
from emo_avatar.head.build.topology import HeadCut
from emo_avatar.head.build.wrinkles import draw_wrinkles
from emo_avatar.head.data import HeadData
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh

SIZE = 2048

SKIN = (0.750, 0.580, 0.480)
BLOOD = (0.720, 0.330, 0.270)
YELLOW = (0.770, 0.620, 0.470)
SHADE = (0.560, 0.400, 0.350)  # thin skin over the orbit
COOL = (0.690, 0.550, 0.480)
LIP_UPPER, LIP_LOWER, LIP_INSIDE = (0.625, 0.395, 0.350), (0.690, 0.450, 0.400), (0.540, 0.270, 0.245)
WATERLINE = (0.760, 0.520, 0.460)
HAIR = (0.130, 0.095, 0.075)
FRECKLE = (0.560, 0.380, 0.270)
BAG, THROAT = (0.480, 0.170, 0.160), (0.100, 0.020, 0.020)
SCLERA, SCLERA_EDGE, VEIN = (0.840, 0.820, 0.795), (0.760, 0.620, 0.570), (0.700, 0.270, 0.230)
IRIS_OUTER, IRIS_INNER, LIMBUS, PUPIL = (
    (0.235, 0.150, 0.090),
    (0.440, 0.285, 0.150),
    (0.085, 0.055, 0.040),
    (0.012, 0.01, 0.01),
)
ENAMEL, DENTINE, EDGE = (0.860, 0.830, 0.765), (0.800, 0.720, 0.590), (0.800, 0.805, 0.800)
GUM, TONGUE, TONGUE_FURROW = (0.730, 0.400, 0.390), (0.720, 0.380, 0.370), (0.540, 0.220, 0.220)
MM = 1e-3


def linear(srgb: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """sRGB in [0, 1] to linear light."""
    c = np.asarray(srgb, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1]."""
    c = np.clip(light, 0, 1)
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass
class Paint:
    """A set of texels being painted."""

    points: np.ndarray  # [N, 3] metres on the mean head
    colour: np.ndarray  # [N, 3] linear light

    @classmethod
    def flat(cls, points: np.ndarray, srgb: tuple[float, ...]) -> Paint:
        return cls(points, np.tile(linear(srgb), (len(points), 1)))

    def glaze(self, srgb: tuple[float, ...], amount: np.ndarray | float) -> None:
        """Mix a colour in, by ``amount [N]`` in [0, 1]."""
        amount = np.clip(np.broadcast_to(amount, len(self.points)), 0, 1)[:, None]
        self.colour += amount * (linear(srgb) - self.colour)

    def scale(self, factor: np.ndarray) -> None:
        """Darken or brighten by a factor ``[N]`` or ``[N, 3]``."""
        self.colour *= factor if factor.ndim == 2 else factor[:, None]

    def blob(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:  # -> [N]
        """A soft spot, mirrored: millimetres on the left side of the mean head."""
        offset = np.abs(self.points / MM * [1, 0, 0]) + self.points / MM * [0, 1, 1] - np.array(centre)
        return np.exp(-((offset / np.array(radii)) ** 2).sum(1))


@dataclass(frozen=True)
class SkinMasks:
    """What the skin's paint needs to know besides the geometry."""

    makehuman_uv: np.ndarray  # [V, 2] where MakeHuman's masks have this vertex; NaN on its seams
    lips: np.ndarray  # [h, w] MakeHuman's mask, in [0, 1]
    lid_margin: np.ndarray  # [h, w]
    ears: np.ndarray  # [h, w]
    upper_lip: np.ndarray  # [V] 1 nearer to the upper lip
    lining: np.ndarray  # [V] 1 in mouth bag and eye sockets


def skin_masks(mh: MakeHuman, cut: HeadCut, head: HeadData, of_upper_lip: np.ndarray) -> SkinMasks:
    """The masks of the head's skin; ``of_upper_lip [N]`` tells base vertices by lip."""
    base = np.unique(mh.quads[cut.skin])
    uv = np.zeros((len(mh.vertices), 2))
    uv[mh.quads[cut.skin]] = mh.uv[mh.uv_quads[cut.skin]]
    uv[mh.quads[cut.outer]] = mh.uv[mh.uv_quads[cut.outer]]  # on the borders of linings, where the outside has them
    pairs = np.unique(np.stack([mh.quads[cut.outer].ravel(), mh.uv_quads[cut.outer].ravel()]), axis=1)[0]
    uv[np.flatnonzero(np.bincount(pairs, minlength=len(uv)) > 1)] = np.nan  # on MakeHuman's own seams
    masks = {name: mh.mask(name) for name in ("lips", "eyelids", "ears")}

    def on_head(values: np.ndarray) -> np.ndarray:  # [N, ...] -> [V, ...]
        out = np.zeros((head.n_vertices, *values.shape[1:]))
        out[: len(base)] = values[base]
        return out

    lining = head.regions["mouth_bag"] | head.regions["eye_sockets"]
    return SkinMasks(
        on_head(uv),
        masks["lips"],
        masks["eyelids"],
        masks["ears"],
        on_head(of_upper_lip.astype(float)),
        lining.astype(float),
    )


def _sample(mask: np.ndarray, uv: np.ndarray) -> np.ndarray:  # [h, w], [N, 2] -> [N]
    height, width = mask.shape
    return ndimage.map_coordinates(
        mask, np.nan_to_num([(1 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5], nan=-9), order=1, mode="constant"
    )


def _skin_tone(paint: Paint, ears: np.ndarray) -> None:
    """Broad zones: golden forehead, red middle of the face, cooler jaw, darker orbit; and mottling."""
    p = paint.points
    blotches = value_noise(p, 0.012, 1, octaves=3)
    fine = value_noise(p, 0.0035, 2, octaves=2)
    paint.glaze(YELLOW, 0.45 * paint.blob((0, 55, 70), (60, 28, 60)) + 0.35 * paint.blob((0, -140, 40), (70, 40, 70)))
    paint.glaze(COOL, 0.45 * paint.blob((0, -85, 85), (38, 22, 40)))
    cheeks = paint.blob((40, -28, 75), (24, 21, 32))
    nose = paint.blob((0, -37, 102), (16, 13, 20)) + 0.6 * paint.blob((14, -40, 90), (8, 9, 14))
    chin = paint.blob((0, -97, 85), (18, 12, 25))
    brow = paint.blob((0, 16, 88), (14, 10, 20))
    flush = 0.24 * cheeks + 0.26 * nose + 0.13 * chin + 0.10 * brow + 0.26 * ears + 0.06
    paint.glaze(BLOOD, flush * (1 + 0.50 * blotches + 0.35 * fine))
    paint.glaze(BLOOD, 0.10 * smoothstep(0.15, 0.8, value_noise(p, 0.006, 3, octaves=3)))
    orbit = paint.blob((27, 3, 78), (19, 12, 20))
    inner_corner = paint.blob((15, -3, 80), (6, 7, 12))
    bag = paint.blob((28, -13, 80), (14, 4.5, 14))
    paint.glaze(SHADE, 0.30 * orbit + 0.26 * inner_corner + 0.16 * bag)
    tone = 1 + 0.035 * value_noise(p, 0.030, 4, octaves=2) + 0.030 * fine + 0.022 * value_noise(p, 0.0011, 5)
    paint.scale(tone)


def _pores_and_freckles(paint: Paint, on_face: np.ndarray) -> None:
    p = paint.points
    distance, number = cells(p, 0.0011, 7)
    density = paint.blob((0, -36, 98), (18, 14, 25)) + 0.8 * paint.blob((26, -28, 85), (16, 18, 25)) + 0.25
    pore = smoothstep(0.34, 0.08, distance) * (number > 0.25) * np.clip(density, 0, 1) * on_face
    paint.scale(1 - np.outer(pore, [0.10, 0.16, 0.18]))
    distance, number = cells(p, 0.0042, 11)
    where = paint.blob((26, -20, 85), (24, 14, 28)) + 0.8 * paint.blob((0, -25, 98), (14, 16, 20)) + 0.12
    radius = 0.10 + 0.14 * ((number * 37) % 1)
    freckle = smoothstep(1.0, 0.45, distance / radius) * (number > 0.62) * where
    paint.glaze(FRECKLE, 0.30 * freckle * on_face)
    mole_distance, mole_number = cells(p, 0.030, 13)
    mole = smoothstep(0.034, 0.018, mole_distance) * (mole_number > 0.80)
    paint.glaze((0.33, 0.20, 0.15), 0.55 * mole * on_face)


def _lips(paint: Paint, lips: np.ndarray, upper: np.ndarray, inside: np.ndarray) -> None:
    """Vermilion with fine lines across it, a light rim above, darker and redder towards the slit."""
    p = paint.points / MM
    border = smoothstep(0.05, 1.05, lips + 0.12 * value_noise(paint.points, 0.0016, 21))
    colour = Paint(paint.points, paint.colour.copy())
    colour.glaze(LIP_LOWER, 0.92)
    colour.glaze(LIP_UPPER, 0.9 * upper)
    colour.scale(1 + 0.05 * value_noise(paint.points, 0.004, 22, octaves=2))
    # Lines run from the slit outwards, a little fanned; stretching the noise along them draws them.
    fan = p[:, 0] * (1 - 0.012 * np.abs(p[:, 1] + 66))
    stripes = np.stack([fan / 0.85, p[:, 1] / 7, p[:, 2] / 14], 1)
    lines = value_noise(stripes, 1.0, 23, octaves=2)
    colour.scale(1 - np.outer(smoothstep(0.02, 0.65, lines), [0.15, 0.22, 0.22]))
    colour.scale(1 + 0.06 * smoothstep(0.1, 0.6, -lines))
    rim = smoothstep(0.02, 0.25, lips) * (1 - border)
    paint.scale(1 + 0.06 * rim * upper)
    paint.colour += border[:, None] * (colour.colour - paint.colour)
    paint.glaze(LIP_INSIDE, 0.85 * inside * smoothstep(0.2, 0.8, lips))
    paint.glaze(BLOOD, 0.30 * paint.blob((23.2, -66.5, 78), (3.0, 2.2, 8)))


def _lids(paint: Paint, margin: np.ndarray, eyes: np.ndarray) -> None:
    """The crease of the upper lid, the dark line of the lashes' roots, the moist edge."""
    offset = (paint.points - eyes[0] * np.where(paint.points[:, :1] > 0, 1, [-1, 1, 1]))[:, :2] / MM
    offset[:, 0] *= np.sign(paint.points[:, 0])
    in_front = paint.points[:, 2] > 0.05
    lid = np.exp(-((offset[:, 0] / 17) ** 2) - (((offset[:, 1] - 6) / 5.0) ** 2)) * in_front
    paint.glaze(SHADE, 0.28 * lid)
    paint.glaze(BLOOD, 0.10 * lid)
    roots = smoothstep(0.10, 0.35, margin) * smoothstep(0.95, 0.55, margin) * in_front
    upper = offset[:, 1] > 0
    paint.glaze(HAIR, np.where(upper, 0.62, 0.30) * roots)
    paint.glaze(WATERLINE, 0.75 * smoothstep(0.80, 0.98, margin) * in_front)


def _scalp(paint: Paint, eyes: np.ndarray, ears: np.ndarray) -> None:
    """Cropped hair: a grey-brown tint with a grain of single hairs, thinning out along an uneven hairline."""
    p = paint.points
    height = p[:, 1] - eyes[:, 1].mean()
    azimuth = np.degrees(np.arctan2(np.abs(p[:, 0]), p[:, 2]))
    line = np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)
    uneven = 0.004 * value_noise(p, 0.009, 31, octaves=3)
    hair = smoothstep(-0.006, 0.010, height - line + uneven) * (1 - smoothstep(0.1, 0.6, ears))
    # Single hairs, a third of a millimetre wide, lie from the crown outwards; below that the tint is even.
    lie = np.stack([p[:, 0] / 0.5, p[:, 1] / 0.9, p[:, 2] / 0.9], 1)
    grain = value_noise(lie, 0.0009, 33, octaves=2)
    clump = value_noise(p, 0.006, 35, octaves=2)
    thin = 0.55 + 0.45 * smoothstep(-0.002, 0.022, height - line)
    paint.glaze(HAIR, hair * thin * (0.56 + 0.20 * grain + 0.07 * clump))


def paint_skin(points: np.ndarray, masks: dict[str, np.ndarray], eyes: np.ndarray, brows: BrowStrokes) -> np.ndarray:
    """Colours ``[N, 3]`` linear of skin texels; ``masks`` hold ``[N]`` values named as in ``SkinMasks``."""
    paint = Paint.flat(points, SKIN)
    lips = masks["lips"] * (1 - masks["lining"])
    on_face = (1 - smoothstep(0.05, 0.4, lips)) * (1 - smoothstep(0.1, 0.5, masks["lid_margin"]))
    _skin_tone(paint, masks["ears"])
    _pores_and_freckles(paint, on_face)
    _lids(paint, masks["lid_margin"], eyes)
    _scalp(paint, eyes, masks["ears"])
    paint.glaze(HAIR, brows.shadow(points, eyes))
    paint.glaze(HAIR, brows.hairs(points, eyes))
    slit = smoothstep(0.86, 0.80, points[:, 2] / 0.1) * (np.abs(points[:, 1] + 0.066) < 0.006)
    _lips(paint, lips, masks["upper_lip"], slit)
    depth = smoothstep(0.015, 0.055, masks["from_lips"])
    paint.glaze(BAG, masks["lining"])
    paint.glaze(THROAT, masks["lining"] * (0.10 + 0.90 * depth))
    crevice = 1 - masks["occlusion"]
    paint.scale(1 - np.outer(crevice, [0.34, 0.48, 0.52]))  # light that skin scatters into crevices is red
    return paint.colour


def paint_eye(direction: np.ndarray) -> np.ndarray:  # [N, 3] unit, z along the gaze -> [N, 3]
    """Sclera with veins towards the corners, iris with radial fibres, limbus and pupil."""
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    turn = np.arctan2(direction[:, 1], direction[:, 0])
    paint = Paint.flat(direction, SCLERA)
    away = smoothstep(np.radians(32), np.radians(80), angle)
    paint.glaze(SCLERA_EDGE, 0.75 * away)
    wander = value_noise(direction, 0.35, 41, octaves=3)
    branch = np.abs(value_noise(direction + 0.12 * wander[:, None], 0.22, 43, octaves=3))
    paint.glaze(VEIN, 0.30 * smoothstep(0.05, 0.0, branch) * smoothstep(np.radians(28), np.radians(60), angle))
    share = angle / IRIS_ANGLE
    iris = Paint.flat(direction, IRIS_OUTER)
    fibre = value_noise(np.stack([turn * 14, 2.2 * share, 0 * turn], 1), 1.0, 44, octaves=3)
    # The angle wraps at the back of the circle: blend two noises whose seams lie apart.
    other = value_noise(
        np.stack([np.arctan2(-direction[:, 1], -direction[:, 0]) * 14, 2.2 * share, 9 + 0 * turn], 1), 1.0, 45, 3
    )
    blend = smoothstep(-0.6, 0.6, np.cos(turn))
    fibre = blend * fibre + (1 - blend) * other
    iris.glaze(IRIS_INNER, np.clip(smoothstep(0.95, 0.45, share + 0.12 * fibre) * (0.85 + 0.5 * fibre), 0, 1))
    iris.scale(1 + 0.45 * fibre * smoothstep(0.35, 0.5, share))
    iris.glaze(LIMBUS, 0.85 * smoothstep(0.80, 1.0, share))
    iris.glaze(PUPIL, smoothstep(1.10, 0.92, angle / PUPIL_ANGLE))
    inside = smoothstep(1.06, 0.97, share)[:, None]
    return paint.colour + inside * (iris.colour - paint.colour)


def paint_teeth(points: np.ndarray, height: np.ndarray, is_gum: np.ndarray) -> np.ndarray:
    """Enamel, warmer at the neck and greyer at the edge (``height`` 0 at the gum, 1 at the edge); mottled gum."""
    paint = Paint.flat(points, ENAMEL)
    paint.glaze(DENTINE, 0.75 * smoothstep(0.45, 0.05, height))
    paint.glaze(EDGE, 0.60 * smoothstep(0.70, 0.95, height))
    paint.scale(1 + 0.03 * value_noise(points, 0.002, 51, octaves=2))
    gum = Paint.flat(points, GUM)
    gum.scale(1 + 0.10 * value_noise(points, 0.003, 52, octaves=3))
    return np.where(is_gum[:, None], gum.colour, paint.colour)


def paint_tongue(points: np.ndarray) -> np.ndarray:
    paint = Paint.flat(points, TONGUE)
    paint.glaze(TONGUE_FURROW, 0.6 * np.exp(-((points[:, 0] / 0.0016) ** 2)))
    distance, _ = cells(points, 0.0011, 61)
    paint.scale(1.05 - 0.22 * smoothstep(0.25, 0.75, distance))
    paint.scale(1 + 0.08 * value_noise(points, 0.006, 62, octaves=2))
    paint.glaze(THROAT, 0.7 * smoothstep(0.060, 0.020, points[:, 2]))
    return paint.colour


def _texels(head: HeadData) -> tuple[np.ndarray, np.ndarray]:
    """The UV triangle of every texel ``[S, S]`` (-1 outside all islands) and where on it ``[S, S, 3]``."""
    flat = np.c_[head.uv[:, 0] * SIZE, (1 - head.uv[:, 1]) * SIZE, np.ones(len(head.uv))]
    plane = Camera(np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), SIZE, SIZE)
    fragments = rasterize_mesh(flat, head.uv_faces, plane)
    return fragments.face, fragments.barycentric


def paint_wrinkles(head: HeadData) -> np.ndarray:  # -> [1024, 1024, 3] uint8
    """The folds of the skin over the atlas, by their run."""
    face, barycentric = _texels(head)
    skin = (face >= 0) & (head.face_part[face] == head.part_names.index("skin"))
    points = np.einsum("nk,nkd->nd", barycentric[skin], head.v_template[head.faces[face[skin]]].astype(float))
    outside = ~(head.regions["mouth_bag"] | head.regions["eye_sockets"])[head.faces[face[skin]]].any(1)
    image = np.zeros((SIZE, SIZE, 3))
    image[skin] = draw_wrinkles(points) * outside[:, None]
    half = image.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))
    return np.round(255 * half).astype(np.uint8)


def paint_texture(head: HeadData, masks: SkinMasks, brows: BrowStrokes) -> np.ndarray:  # -> [2048, 2048, 3] uint8
    """The whole atlas."""
    face, barycentric = _texels(head)
    covered = face >= 0
    texel_face, weights = face[covered], barycentric[covered]
    row, column = np.nonzero(covered)
    texel_uv = np.stack([column + 0.5, SIZE - row - 0.5], 1) / SIZE

    def at(values: np.ndarray) -> np.ndarray:  # [V, ...] -> [N, ...]
        return np.einsum("nk,nk...->n...", weights, values[head.faces[texel_face]])

    points = at(head.v_template.astype(float))
    part = head.face_part[texel_face]
    eyes = (head.J_regressor @ head.v_template)[3:5]
    occlusion = ambient_occlusion(head.v_template, head.faces)
    from_lips = cKDTree(head.v_template[head.regions["lips"]]).query(head.v_template)[0]
    colour = np.zeros((len(points), 3))
    for index, name in enumerate(head.part_names):
        own = part == index
        if name == "skin":
            uv = at(masks.makehuman_uv)[own]
            lining = at(masks.lining)[own]
            values = {
                "lips": _sample(masks.lips, uv),
                "lid_margin": _sample(masks.lid_margin, uv) * (lining < 0.99),
                "ears": _sample(masks.ears, uv),
                "upper_lip": at(masks.upper_lip)[own],
                "lining": lining,
                "occlusion": at(occlusion)[own],
                "from_lips": at(from_lips)[own],
            }
            colour[own] = paint_skin(points[own], values, eyes, brows)
        elif name.startswith("eye_"):
            direction = points[own] - eyes[0 if name == "eye_left" else 1]
            colour[own] = paint_eye(direction / np.linalg.norm(direction, axis=1, keepdims=True))
        elif name.endswith("_teeth"):
            local = CELLS[name].unplace(texel_uv[own])
            colour[own] = paint_teeth(points[own], *crown_height(local))
        elif name == "tongue":
            colour[own] = paint_tongue(points[own])
        else:
            colour[own] = linear(HAIR)
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    image[covered] = encoded(colour)
    # Islands bleed outwards; far from them the nearest colour compresses best.
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    image = image[tuple(nearest)]
    return np.round(255 * image).astype(np.uint8)
