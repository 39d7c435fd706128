"""What an invented person looks like beside the form of the head: all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.data.clothes import Clothes, draw_clothes
from emo_avatar.data.complexion import Vessels
from emo_avatar.data.complexions import complexion, complexion_for
from emo_avatar.data.folds import Folds, draw_folds
from emo_avatar.data.hair import STYLES, Style
from emo_avatar.data.makehuman import is_there
from emo_avatar.data.skins import EyeColour, HairColour, SkinTraits, paint_person
from emo_avatar.head.build.brows import BrowStyle
from emo_avatar.render.lighting import linear

# Irises as sRGB: at the rim and round the pupil, with how common they are.
IRISES = (
    ("brown", 0.34, (0.26, 0.15, 0.09), (0.38, 0.22, 0.12)),
    ("dark", 0.22, (0.16, 0.09, 0.06), (0.20, 0.12, 0.07)),
    ("hazel", 0.12, (0.33, 0.29, 0.16), (0.45, 0.30, 0.14)),
    ("green", 0.09, (0.34, 0.40, 0.28), (0.48, 0.42, 0.24)),
    ("blue", 0.14, (0.30, 0.42, 0.54), (0.50, 0.58, 0.62)),
    ("grey", 0.09, (0.38, 0.43, 0.46), (0.52, 0.54, 0.52)),
)


@dataclass(frozen=True, eq=False)
class Look:
    """The appearance of one person."""

    albedo: np.ndarray  # [R, R, 3] float32 linear light over the open head's UV
    age: float  # 0 twenty, 1 eighty
    skin: SkinTraits
    skin_type: int  # Fitzpatrick's, 1 to 6
    masculine: float  # 0 to 1, in looks alone
    folds: Folds
    vessels: Vessels
    shine: np.ndarray  # [V] float32 factor on what the skin mirrors
    hair_colour: HairColour
    hair: tuple[Style, ...]  # meshes; none on those who are bald or cropped
    shaven: bool  # whether the scalp shows
    hair_shine: float
    brows: BrowStyle
    eyes: str  # name of the colour
    lash_colour: np.ndarray  # [3] linear light
    clothes: Clothes


def draw_look(seed: int) -> Look:
    """The look of a seed's person."""
    rng = np.random.default_rng([seed, 11])
    masculine = float(rng.random() < 0.5) * rng.uniform(0.7, 1.0)
    age = float(rng.beta(1.1, 1.5))
    melanin = float(rng.choice([rng.uniform(0.05, 0.45), rng.uniform(0.35, 0.95), rng.uniform(0.9, 1.75)]))
    fair = max(0.0, 1 - melanin / 0.5)
    skin = SkinTraits(
        melanin=melanin,
        blood=float(np.clip(rng.normal(0.30 + 0.05 * masculine, 0.07), 0.12, 0.6)),
        carotene=float(np.clip(rng.normal(0.25, 0.22), -0.1, 0.8)),
        ruddiness=float(np.clip(rng.normal(0.55 + 0.3 * age, 0.35), 0.05, 1.6)),
        mottling=float(rng.uniform(0.5, 1.8) * (0.7 + 0.6 * age)),
        freckles=float(max(0.0, rng.normal(-0.3, 0.7)) * fair),
        age=age,
        tired=float(np.clip(rng.normal(0.7 + 0.4 * age, 0.4), 0.0, 2.0)),
        lip_blood=float(np.clip(rng.normal(1.0 - 0.25 * age - 0.15 * masculine, 0.22), 0.35, 1.5)),
        beard_shadow=float(masculine * rng.uniform(0.1, 0.8) * (0.5 + 0.5 * rng.random())),
        stubble=float(masculine * (rng.uniform(0.2, 0.9) if rng.random() < 0.35 else 0.0)),
    )
    hair_colour = _hair_colour(rng, melanin, age)
    hair, cropped = _hair(rng, masculine, age, melanin)
    if not is_there():
        hair = ()
    brows = BrowStyle(
        hairs=float(np.exp(rng.normal(0.15 * masculine - 0.1, 0.25))),
        thickness=float(np.exp(rng.normal(0.25 * masculine - 0.1, 0.2))),
        length=float(np.exp(rng.normal(0.1 * age, 0.12))),
        lift=(float(rng.normal(0, 1)), float(rng.normal(0.3 - 0.8 * masculine, 1.2)), float(rng.normal(0, 1.3))),
        unruliness=float(np.exp(rng.normal(0.3 * masculine, 0.25))),
        pixel=0.12,
        segments=4,
    )
    name, eyes = _eye_colour(rng, melanin)
    sampled, share = complexion_for(rng, age, melanin, masculine), rng.uniform(0.3, 1.0)
    uneven = np.float32(share) * complexion(sampled) if is_there() else None
    albedo = paint_person(skin, hair_colour, cropped, brows, eyes, [seed, 12], uneven)
    oily = float(np.exp(rng.normal(-0.2 * age, 0.3)))
    return Look(
        albedo=albedo,
        age=age,
        skin=skin,
        skin_type=int(np.searchsorted([0.15, 0.35, 0.6, 0.95, 1.35], melanin)) + 1,
        masculine=masculine,
        folds=draw_folds(rng, age),
        vessels=Vessels(
            flush=float(np.exp(rng.normal(-0.05, 0.3)) * (1 - 0.25 * min(melanin, 1.5) / 1.5)),
            pallor=float(np.exp(rng.normal(0.0, 0.25))),
            tears=float(rng.uniform(0.4, 1.3)),
        ),
        shine=np.full(1, oily, np.float32),
        hair_colour=hair_colour,
        hair=hair,
        shaven=cropped < 0.3,
        hair_shine=float(rng.uniform(0.4, 1.2)),
        brows=brows,
        eyes=name,
        lash_colour=(0.35 * hair_colour.rgb * rng.uniform(0.3, 1.0) + 0.004).astype(np.float32),
        clothes=draw_clothes(rng, masculine),
    )


def _hair(rng: np.random.Generator, masculine: float, age: float, melanin: float) -> tuple[tuple[Style, ...], float]:
    """Meshes of hair, and how densely cropped hair covers the scalp (under meshes: so that no skin shines through)."""
    curls = 0.15 + 0.85 * min(melanin / 1.2, 1.0)

    def draw(facial: bool) -> Style:
        styles = [style for style in STYLES if style.facial == facial]
        share = np.array([s.common * (s.masculine if masculine else 1 - s.masculine) for s in styles])
        share *= [curls if s.curly else 1.2 - 0.7 * curls for s in styles]
        return styles[rng.choice(len(styles), p=share / share.sum())]

    worn: list[Style] = []
    kind = rng.random()
    bald = 0.04 + 0.16 * age if masculine else 0.015
    if kind < bald:
        cropped = float(rng.choice([0.0, rng.uniform(0.1, 0.4)]))
    elif kind < bald + (0.15 if masculine else 0.05):
        cropped = float(rng.uniform(0.5, 0.95))
    else:
        worn.append(draw(facial=False))
        cropped = 0.95
    chosen = draw(facial=True) if masculine else None
    if chosen and rng.random() < 0.25:
        worn.append(chosen)
    return tuple(worn), cropped


def _hair_colour(rng: np.random.Generator, melanin: float, age: float) -> HairColour:
    fair = max(0.0, 1 - melanin / 0.55)
    kind = rng.random()
    if kind < 0.35 * fair:  # blond
        eu, pheo = rng.uniform(0.15, 0.8), rng.uniform(0.1, 0.5)
    elif kind < 0.43 * fair:  # red
        eu, pheo = rng.uniform(0.2, 0.6), rng.uniform(0.7, 1.4)
    elif kind < 0.35 + 0.35 * fair:  # brown
        eu, pheo = rng.uniform(1.0, 2.2), rng.uniform(0.1, 0.6)
    else:  # black
        eu, pheo = rng.uniform(2.4, 4.0), rng.uniform(0.0, 0.3)
    eu += 1.3 * (1 - fair)
    grey = float(np.clip((age - 0.45) * 1.6 + rng.normal(0, 0.25), 0, 0.9)) if age > 0.25 else 0.0
    return HairColour(float(eu), float(pheo), grey)


def _eye_colour(rng: np.random.Generator, melanin: float) -> tuple[str, EyeColour]:
    share = np.array([common for _, common, *_ in IRISES])
    light = np.array([name not in ("brown", "dark") for name, *_ in IRISES])
    share = share * np.where(light, max(0.02, 1 - melanin / 0.6) ** 1.5, 1.0)
    name, _, iris, centre = IRISES[rng.choice(len(IRISES), p=share / share.sum())]
    jitter = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.15))
    white = np.array([1.0, 0.985 - 0.05 * rng.random(), 0.96 - 0.10 * rng.random()]) * rng.uniform(0.82, 1.0)
    return name, EyeColour(
        tuple(linear(np.array(iris, np.float32)) * jitter),
        tuple(linear(np.array(centre, np.float32)) * jitter),
        tuple(white),
    )
