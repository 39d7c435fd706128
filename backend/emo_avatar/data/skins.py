"""Paints the skin, brows, shaven beard and eyes of one person over the open head's atlas.

Skin is a layer of pigments over a bright ground: melanin and blood absorb by colour, and where there is more of them
the skin is darker or redder. People differ in how much they have, and in how unevenly it is spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.data.canvas import BLOOD, MELANIN, PUPIL_SHARE, Canvas, canvas, smoothstep
from emo_avatar.head.build.brows import BOTTOM, BrowStyle, draw_brows
from emo_avatar.head.data import open_head
from emo_avatar.render.lighting import linear

GROUND = linear(np.array([0.890, 0.800, 0.735], np.float32))  # skin without pigment
CAROTENE = np.array([0.0, 0.10, 0.40], np.float32)  # absorption by what makes skin golden
HAIR_GROUND = np.array([0.62, 0.52, 0.38], np.float32)  # linear light of hair without pigment
GREY = np.array([0.46, 0.45, 0.43], np.float32)  # a mass of white hair shades itself
EUMELANIN, PHEOMELANIN = np.array([1.0, 1.35, 1.9], np.float32), np.array([0.35, 1.05, 2.1], np.float32)
BROW_PIXEL = 0.12  # mm


@dataclass(frozen=True)
class SkinTraits:
    """What somebody's skin is like."""

    melanin: float  # 0 very fair to 2 very dark
    blood: float  # round 0.3
    carotene: float
    ruddiness: float  # how much redder cheeks and nose are
    mottling: float  # unevenness
    freckles: float
    age: float  # 0 twenty, 1 eighty
    tired: float  # darkness round the eyes
    lip_blood: float
    beard_shadow: float  # shaven hair that shines through
    stubble: float  # of a few days, 0 to 1


@dataclass(frozen=True)
class HairColour:
    """Pigments of hair; grey hair has none."""

    eumelanin: float
    pheomelanin: float
    grey: float  # share of white hairs

    @property
    def rgb(self) -> np.ndarray:  # [3] linear light
        pigmented = HAIR_GROUND * np.exp(-self.eumelanin * EUMELANIN - self.pheomelanin * PHEOMELANIN)
        return (pigmented + self.grey * (GREY - pigmented)).astype(np.float32)


@dataclass(frozen=True)
class EyeColour:
    """Iris and white, linear light."""

    iris: tuple[float, float, float]
    centre: tuple[float, float, float]  # of the iris, round the pupil
    white: tuple[float, float, float]


def paint_person(
    skin: SkinTraits,
    hair: HairColour,
    cropped: float,
    brows: BrowStyle,
    eyes: EyeColour,
    seed: list[int],
    complexion: np.ndarray | None = None,
) -> np.ndarray:  # [SIZE, SIZE, 3] float32 linear light
    """The atlas of one person.

    ``cropped`` is how densely short hair covers the scalp, ``complexion [N, 2]`` what melanin and blood a sampled skin
    adds, see ``complexions``.
    """
    c = canvas()
    melanin, blood = _pigment_maps(c, skin, complexion)
    absorbed = melanin[:, None] * MELANIN + blood[:, None] * BLOOD + skin.carotene * CAROTENE
    absorbed += c.residue[:, None]
    colour = GROUND * np.exp(-absorbed)
    # The inside of the mouth is everybody's.
    inner = (1 - c.outside)[:, None]
    colour += inner * (c.shipped.reshape(-1, 3)[c.pixels] - colour)
    _facial_hair(c, colour, skin, hair)
    _scalp(c, colour, hair, cropped)
    _brows(c, colour, hair, brows, seed)
    atlas = c.shipped.copy()
    flat = atlas.reshape(-1, 3)
    flat[c.pixels] = colour
    beside, source = c.bleeding
    flat[beside] = colour[source]
    _eyes(c, flat, eyes)
    return atlas


def _pigment_maps(c: Canvas, skin: SkinTraits, complexion: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    n = c.noise
    # On dark skin the same spots are as visible in relative terms, but lips and cheeks are browner than red.
    dark = min(skin.melanin / 1.6, 1.0)
    melanin = skin.melanin + 0.55 * c.melanin * (1 - 0.4 * dark)
    melanin += skin.mottling * (0.05 * n["mottling"] + 0.05 * n["blotches"] * (0.5 + skin.age))
    melanin += 0.015 * n["grain"] + skin.freckles * 0.45 * n["freckles"] * (1 - dark) * _sunlit(c)
    melanin += skin.age * 0.40 * n["age_spots"] * (0.4 + 0.6 * _sunlit(c)) * (1 - 0.5 * dark)
    p = c.points / 1e-3
    x = np.abs(p[:, 0])
    orbit = np.exp(-(((x - 27) / 19) ** 2) - ((p[:, 1] + 4) / 13) ** 2) * smoothstep(40, 65, p[:, 2])
    bag = np.exp(-(((x - 25) / 13) ** 2) - ((p[:, 1] + 13) / 5) ** 2) * smoothstep(40, 65, p[:, 2])
    melanin += skin.tired * (0.16 + 0.14 * dark) * orbit + 0.12 * skin.tired * bag
    melanin += c.lips * (0.05 + 0.28 * dark)
    around_mouth = np.exp(-((x / 38) ** 2) - ((p[:, 1] + 72) / 26) ** 2) * smoothstep(40, 70, p[:, 2])
    melanin += 0.12 * dark * around_mouth  # darker skin is darkest round mouth and eyes
    detail = c.blood * np.where(c.lips > 0, 1.0, 0.4 + 0.6 * skin.ruddiness)
    detail = np.where(c.lips > 0, detail * (1 - c.lips) + c.lips * np.maximum(detail, 0) * skin.lip_blood, detail)
    blood = skin.blood + detail * (1 - 0.35 * dark) + skin.ruddiness * 0.10 * np.maximum(n["blotches"], 0) * _cheeks(p)
    blood += skin.mottling * 0.05 * n["mottling"] + 0.10 * skin.tired * orbit
    if complexion is not None:
        melanin, blood = melanin + complexion[:, 0] * c.outside, blood + complexion[:, 1] * c.outside
    return np.maximum(melanin, 0), np.maximum(blood, 0)


def _sunlit(c: Canvas) -> np.ndarray:  # [N]
    p = c.points / 1e-3
    return np.exp(-(((p[:, 1] + 18) / 42) ** 2)) * smoothstep(20, 70, p[:, 2]) * (1 - c.lips)


def _cheeks(p: np.ndarray) -> np.ndarray:  # [N, 3] mm -> [N]
    x = np.abs(p[:, 0])
    cheeks = np.exp(-(((x - 40) / 22) ** 2) - ((p[:, 1] + 28) / 20) ** 2)
    return (cheeks + np.exp(-((x / 15) ** 2) - ((p[:, 1] + 37) / 12) ** 2)) * smoothstep(30, 60, p[:, 2])


def _facial_hair(c: Canvas, colour: np.ndarray, skin: SkinTraits, hair: HairColour) -> None:
    if skin.beard_shadow <= 0 and skin.stubble <= 0:
        return
    where = np.maximum.reduce([c.facial_hair["moustache"], c.facial_hair["chin"], 0.85 * c.facial_hair["cheeks"]])
    # Shaven hair lies under the skin, and looks blue-grey through it.
    colour *= np.exp(-(skin.beard_shadow * where)[:, None] * np.array([0.42, 0.34, 0.26], np.float32))
    grain = np.clip(0.45 + 0.9 * c.noise["follicles"] + 0.5 * c.noise["grain"], 0, 1)
    cover = np.clip(skin.stubble * where * grain, 0, 0.9)[:, None]
    colour += cover * (0.8 * hair.rgb - colour)


def _scalp(c: Canvas, colour: np.ndarray, hair: HairColour, cropped: float) -> None:
    if cropped <= 0:
        return
    height = c.above_hairline + 0.004 * c.noise["hairline"]
    where = smoothstep(-0.006, 0.012, height) * (1 - smoothstep(0.1, 0.6, c.ears)) * c.outside
    thin = 0.6 + 0.4 * smoothstep(-0.002, 0.022, height)
    grain = 0.80 + 0.30 * c.noise["hairs"] + 0.10 * c.noise["clumps"]
    cover = np.clip(cropped * where * thin * grain, 0, 0.97)[:, None]
    shade = hair.rgb * (1 + 0.5 * c.noise["hairs"])[:, None]
    colour += cover * (shade - colour)


def _brows(c: Canvas, colour: np.ndarray, hair: HairColour, style: BrowStyle, seed: list[int]) -> None:
    head = open_head()
    eyes = (head.J_regressor @ head.v_template)[3:5]
    up = (c.points[:, 1] - eyes[0, 1]) / 1e-3
    near = np.flatnonzero((np.abs(c.points[:, 0]) < 0.062) & (up > BOTTOM) & (up < 36) & (c.points[:, 2] > 0.03))
    strokes = draw_brows(seed, style)
    points = c.points[near].astype(float)
    cover = np.clip(strokes.shadow(points, eyes) + strokes.hairs(points, eyes), 0, 1)[:, None]
    colour[near] += cover * (0.75 * hair.rgb - colour[near])


def _eyes(c: Canvas, flat: np.ndarray, eyes: EyeColour) -> None:
    shipped, angle = flat[c.eye_pixels], c.eye_angle
    brightness = shipped.mean(1, keepdims=True)
    in_iris = (angle > PUPIL_SHARE * 1.1) & (angle < 0.95)
    fibres = brightness / max(float(np.median(brightness[in_iris])), 1e-4)
    share = smoothstep(0.9, 0.35, angle)[:, None]
    iris = (np.array(eyes.iris) + share * (np.array(eyes.centre) - np.array(eyes.iris))) * (0.35 + 0.65 * fibres)
    iris *= 1 - 0.75 * smoothstep(0.80, 1.0, angle)[:, None]
    pupil = smoothstep(1.12, 0.95, angle / PUPIL_SHARE)[:, None]
    iris = iris * (1 - pupil) + 0.004 * pupil
    white = 0.68 * shipped * np.array(eyes.white)
    inside = smoothstep(1.07, 0.97, angle)[:, None]
    flat[c.eye_pixels] = white + inside * (iris - white)
