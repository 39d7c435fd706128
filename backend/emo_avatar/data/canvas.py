"""What skin is painted on: the open head's atlas, and where on the mean head each of its texels lies.

The texture that is shipped with the open head is taken apart into pigments here, once a process, so that other people
can be painted with its detail and in their own colours. Absorption adds up in pigments: what skin sends back is
``exp(-(melanin + blood))`` by colour.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from emo_avatar.head.build.eyes import IRIS_ANGLE, PUPIL_ANGLE
from emo_avatar.head.build.noise import cells, value_noise
from emo_avatar.head.build.regions import HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT, brow_distance
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.shading import open_head_texture

SIZE = 1024
MM = 1e-3
# Absorption by colour (red, green, blue) of one unit of each pigment, in skin as a camera sees it: dark skin is
# flatter over the spectrum than melanin in a glass, since its light has not gone as deep.
MELANIN = np.array([1.0, 1.24, 1.46], np.float32)
BLOOD = np.array([0.14, 0.76, 0.62], np.float32)
BROW_REACH = 0.0095  # metres from the midline of a brow within which the shipped texture has hair
BLEED = 6  # texels by which islands reach beyond their borders


@dataclass(frozen=True, eq=False)
class Canvas:
    """N texels of skin and M of eyes; the arrays are everybody's and not to be changed."""

    pixels: np.ndarray  # [N] int64 into the flattened atlas
    corners: np.ndarray  # [N, 3] int32 the vertices round each texel
    weights: np.ndarray  # [N, 3] float32 barycentric
    points: np.ndarray  # [N, 3] float32 metres on the mean head
    melanin: np.ndarray  # [N] float32 detail of the shipped texture without its hair: pores, freckles, lids
    blood: np.ndarray  # [N] float32 detail: lips, cheeks, nose, ears
    residue: np.ndarray  # [N] float32 absorption of all colours alike: creases, mouth bag
    outside: np.ndarray  # [N] float32 0 in the mouth bag and in the eye sockets
    above_hairline: np.ndarray  # [N] float32 metres, negative below
    ears: np.ndarray  # [N] float32
    lips: np.ndarray  # [N] float32
    bleeding: tuple[np.ndarray, np.ndarray]  # atlas pixels beside the skin's islands, and the texel each takes [0, N)
    shipped: np.ndarray  # [SIZE, SIZE, 3] float32 linear: the shipped texture, for all that is not skin
    eye_pixels: np.ndarray  # [M] int64 into the flattened atlas
    eye_angle: np.ndarray  # [M] float32 angle from the gaze, in units of the iris'

    def at(self, values: np.ndarray) -> np.ndarray:  # [V, ...] -> [N, ...]
        """Values of the head's vertices at the texels."""
        return np.einsum("nk,nk...->n...", self.weights, values[self.corners].astype(np.float32))

    @functools.cached_property
    def noise(self) -> dict[str, np.ndarray]:  # [N] float32 round 0
        """Grain of several sizes; people differ in how much of each they have."""
        p = self.points
        spots, number = cells(p, 0.0052, 83)
        radius = 0.10 + 0.22 * ((number * 37) % 1)
        freckles = smoothstep(1.0, 0.45, spots / radius) * (number > 0.45)
        large, which = cells(p, 0.017, 84)
        age_spots = smoothstep(0.17, 0.09, large + 0.05 * value_noise(p, 0.002, 85, 2)) * (which > 0.55)
        fields = {
            "blotches": value_noise(p, 0.014, 81, 3),
            "mottling": value_noise(p, 0.0045, 82, 3),
            "grain": value_noise(p, 0.0011, 86, 2),
            "freckles": freckles,
            "age_spots": age_spots,
            "follicles": smoothstep(0.42, 0.15, cells(p, 0.00125, 87)[0]),
            "hairs": value_noise(np.stack([p[:, 0] / 0.5, p[:, 1] / 1.6, p[:, 2] / 0.9], 1), 0.0010, 88, 2),
            "clumps": value_noise(p, 0.008, 89, 2),
            "hairline": value_noise(p, 0.009, 31, 3),
        }
        return {name: field.astype(np.float32) for name, field in fields.items()}

    @functools.cached_property
    def facial_hair(self) -> dict[str, np.ndarray]:  # [N] float32 in [0, 1]
        """Where facial hair grows: moustache, chin, cheeks (with jaw and sideburns)."""
        x, y, z = np.abs(self.points[:, 0]) / MM, self.points[:, 1] / MM, self.points[:, 2] / MM
        wander = 2.5 * self.noise["hairline"]
        free = (1 - smoothstep(0.15, 0.5, self.lips)) * self.outside * (1 - smoothstep(0.05, 0.3, self.ears))
        front = smoothstep(55, 70, z)
        above_lip = smoothstep(-44, -51, y + 0.10 * x + wander) * smoothstep(-74, -66, y) * smoothstep(33, 26, x)
        moustache = above_lip * front
        throat = smoothstep(-130, -118, y + 0.35 * np.minimum(z, 60) - 12 + wander)
        chin = smoothstep(-70, -78, y + wander) * smoothstep(34, 26, x) * throat
        # The upper border of a beard runs from the corner of the mouth to before the ear.
        border = np.interp(x, (0, 26, 40, 55, 66, 75), (-74, -66, -62, -50, -20, 20))
        sideburn = smoothstep(15, 5, y) * smoothstep(0, 12, z + 22)
        cheeks = smoothstep(border + 3, border - 9, y + wander) * throat * sideburn * smoothstep(24, 30, x + wander)
        return {
            "moustache": (moustache * free).astype(np.float32),
            "chin": (chin * free).astype(np.float32),
            "cheeks": (cheeks * free).astype(np.float32),
        }


def smoothstep(low: float | np.ndarray, high: float | np.ndarray, x: np.ndarray) -> np.ndarray:
    """0 at ``low``, 1 at ``high``, level beyond; ``low`` may be the larger."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def atlas_texels(head: HeadData, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The UV triangle of every texel ``[size, size]``, -1 outside all islands, and where on it ``[size, size, 3]``."""
    flat = np.c_[head.uv[:, 0] * size, (1 - head.uv[:, 1]) * size, np.ones(len(head.uv))]
    plane = Camera(np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), size, size)
    fragments = rasterize_mesh(flat, head.uv_faces, plane)
    return fragments.face, fragments.barycentric


@functools.cache
def canvas() -> Canvas:
    """The atlas of the open head."""
    head = open_head()
    shipped = open_head_texture()
    factor = len(shipped) // SIZE
    shipped = shipped.reshape(SIZE, factor, SIZE, factor, 3).mean((1, 3))
    face, barycentric = (array.reshape(SIZE * SIZE, -1) for array in atlas_texels(head, SIZE))
    face = face[:, 0]
    part = np.where(face >= 0, head.face_part[face], -1)
    pixels = np.flatnonzero(part == head.part_names.index("skin"))
    corners, weights = head.faces[face[pixels]], barycentric[pixels]

    def at(values: np.ndarray) -> np.ndarray:  # [V, ...] -> [N, ...]
        return np.einsum("nk,nk...->n...", weights, values[corners].astype(np.float32))

    points = at(head.v_template)
    eyes = (head.J_regressor @ head.v_template)[3:5]
    height = points[:, 1] - eyes[0, 1]
    azimuth = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2]))
    above_hairline = height - np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)
    ears = at(head.regions["ears"])
    painted = _haired(points, above_hairline, ears)
    shares = pigments(shipped.reshape(-1, 3)[pixels], np.ones(len(pixels), bool))
    melanin, blood, residue = (_without(values, painted, pixels) for values in shares)
    lining = at(head.regions["mouth_bag"] | head.regions["eye_sockets"])
    lips = smoothstep(0.1, 0.6, at(head.regions["lips"])) * smoothstep(0.25, 0.6, blood) * (lining < 0.5)

    eye_pixels, angles = [], []
    for name, centre in zip(("eye_left", "eye_right"), eyes, strict=True):
        own = np.flatnonzero(part == head.part_names.index(name))
        direction = np.einsum("nk,nkd->nd", barycentric[own], head.v_template[head.faces[face[own]]]) - centre
        eye_pixels.append(own)
        angles.append(np.arccos(np.clip(direction[:, 2] / np.linalg.norm(direction, axis=1), -1, 1)))
    return Canvas(
        pixels,
        corners,
        weights.astype(np.float32),
        points.astype(np.float32),
        melanin,
        blood,
        residue,
        (1 - lining).astype(np.float32),
        above_hairline.astype(np.float32),
        ears.astype(np.float32),
        lips.astype(np.float32),
        _bleeding(part, pixels),
        shipped.astype(np.float32),
        np.concatenate(eye_pixels),
        (np.concatenate(angles) / IRIS_ANGLE).astype(np.float32),
    )


PUPIL_SHARE = PUPIL_ANGLE / IRIS_ANGLE


def haired(canvas: Canvas) -> np.ndarray:  # [N] bool
    """Where brows and hair may be painted on a texture."""
    return _haired(canvas.points, canvas.above_hairline, canvas.ears)


def _haired(points: np.ndarray, above_hairline: np.ndarray, ears: np.ndarray) -> np.ndarray:
    head = open_head()
    eyes = (head.J_regressor @ head.v_template)[3:5]
    brow = (brow_distance(points, eyes) < BROW_REACH) & (points[:, 2] > 0.03) & (points[:, 1] - eyes[0, 1] > 0.009)
    return brow | ((above_hairline > -0.013) & (ears < 0.5))


def pigments(
    colour: np.ndarray,  # [N, 3] linear
    ordinary: np.ndarray,  # [N] bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # 3 x [N] float32
    """Melanin, blood and what is neither of colours, beside those of the skin where it is ``ordinary``."""
    absorbed = -np.log(np.maximum(colour, 1e-3))
    absorbed -= np.median(absorbed[ordinary], axis=0)
    mix = np.stack([MELANIN, BLOOD, np.ones(3)], 1)
    # Grey is told from melanin by little; what can be melanin is.
    shares = absorbed @ np.linalg.pinv(np.concatenate([mix, np.diag([0.05, 0.05, 0.35])])).T[:3]
    return tuple(shares.T.astype(np.float32))


def _without(values: np.ndarray, haired: np.ndarray, pixels: np.ndarray) -> np.ndarray:  # [N], [N] bool -> [N]
    """Values where hair was painted, filled in from the skin around."""
    image, known = np.zeros(SIZE * SIZE, np.float32), np.zeros(SIZE * SIZE, np.float32)
    image[pixels], known[pixels] = values * ~haired, ~haired
    filled, weight = np.zeros((SIZE, SIZE), np.float32), np.full((SIZE, SIZE), 1e-9, np.float32)
    for sigma in (4, 16, 64):
        share = 100.0 ** -sigma.bit_length()
        filled += share * ndimage.gaussian_filter(image.reshape(SIZE, SIZE), sigma)
        weight += share * ndimage.gaussian_filter(known.reshape(SIZE, SIZE), sigma)
    soft = ndimage.gaussian_filter(known.reshape(SIZE, SIZE), 12).reshape(-1)[pixels]
    keep = np.where(haired, 0, smoothstep(0.5, 0.95, soft))
    return keep * values + (1 - keep) * (filled / weight).reshape(-1)[pixels]


def _bleeding(part: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    covered = (part >= 0).reshape(SIZE, SIZE)
    distance, nearest = ndimage.distance_transform_edt(~covered, return_indices=True)
    source = (nearest[0] * SIZE + nearest[1]).reshape(-1)
    texel = np.full(SIZE * SIZE, -1)
    texel[pixels] = np.arange(len(pixels))
    beside = np.flatnonzero((part < 0) & (distance.reshape(-1) <= BLEED) & (texel[source] >= 0))
    return beside, texel[source[beside]]
