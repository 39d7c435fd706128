"""Photographs of subjects: camera, light and background, and the shot itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from emo_avatar.data.complexion import blood_change, wetness
from emo_avatar.data.lashes import fit_lashes, lash_faces
from emo_avatar.data.subjects import Subject
from emo_avatar.head.data import JOINTS, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.camera import Camera
from emo_avatar.render.cards import draw_cards, lit_share, strand_light
from emo_avatar.render.light_kernels import display_curve, display_over
from emo_avatar.render.lighting import AMBIENT_TERMS, Lamp, Light
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.shading import (
    SUPERSAMPLING,
    Appearance,
    cast_shadow,
    look_of,
    open_head_wrinkles,
    samples,
    supersampled,
)
from emo_avatar.render.splat.threads import share_out
from emo_avatar.render.strain import strain

MAX_YAW, MAX_PITCH = 60.0, 14.0  # degrees
SIDE = (0.27, 0.34)  # metres that the picture shows at the head, as portraits are cropped (tracking.crop)
FOV = (11.0, 30.0)  # degrees
AIM = np.array([0.0, -0.022, 0.03])  # metres, the middle of a portrait in the head's own space
FINE_FROM = 320  # pixels, from which a shot is drawn with the finer mesh
SHADOW_SIZE = 384


@dataclass(frozen=True, eq=False)
class Setting:
    """Where the camera stands, what lights the head, and what is behind it."""

    camera: Camera
    light: Light
    background: np.ndarray  # [H, W, 3] float32 display sRGB


@dataclass(frozen=True, eq=False)
class Shot:
    """One photograph, and everything that is known of it."""

    rgb: np.ndarray  # [H, W, 3] float32 display sRGB in [0, 1], with the background
    alpha: np.ndarray  # [H, W] float32 in [0, 1]
    setting: Setting
    frame: FlameSequence  # one frame
    weights: np.ndarray  # [6] float32
    vertices: np.ndarray  # [V, 3] float32 metres, world


def draw_setting(rng: np.random.Generator, subject: Subject, size: int = 256, max_yaw: float = MAX_YAW) -> Setting:
    """A place to photograph ``subject`` in: half of the views are near the front, the others up to ``max_yaw``."""
    yaw = rng.uniform(-max_yaw, max_yaw) if rng.random() < 0.5 else np.clip(rng.normal(0, 14), -max_yaw, max_yaw)
    pitch = float(np.clip(rng.normal(0, 6), -MAX_PITCH, MAX_PITCH))
    fov, side = rng.uniform(*FOV), rng.uniform(*SIDE)
    distance = side / 2 / np.tan(np.radians(fov) / 2)
    # The head turns in the picture as it does in portraits: about its middle, not about its nose.
    eyes = (subject.head.J_regressor @ subject.head.v_template)[3:5].mean(0)
    target = AIM + [0, eyes[1], 0] + rng.normal(0, 0.006, 3)
    camera = Camera.orbit(target, distance, yaw=float(yaw), pitch=pitch, fov=fov, size=size)
    return Setting(camera, draw_light(rng, subject), draw_background(rng, size))


def draw_light(rng: np.random.Generator, subject: Subject) -> Light:
    """A key light from anywhere before the head, what the room sends back, and sometimes a light from behind."""
    azimuth, height = np.radians(rng.uniform(-75, 75)), np.radians(rng.uniform(2, 58))
    direction = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    warmth = rng.normal(0, 0.10)
    key_share = rng.uniform(0.25, 0.8)  # of all light on a face turned to the key
    key_colour = key_share * _tint(warmth)
    room = _tint(rng.normal(-0.4 * warmth, 0.08)) * (1 - key_share)
    ambient = np.zeros((AMBIENT_TERMS, 3))
    ambient[0] = 0.75 * room
    ambient[1:4] = (rng.normal(0, 1, 3) * [0.22, 0.15, 0.12] + [0, 0.22, 0.08])[:, None] * room
    ambient[1:4] += rng.normal(0, 0.03, (3, 3)) * room
    ambient[4:] = rng.normal(0, 0.05, (5, 1)) * room
    fill_side = -np.sign(azimuth) * rng.uniform(0.3, 1.0)
    fill = Lamp((fill_side, rng.uniform(-0.3, 0.5), rng.uniform(0.4, 1.0)), tuple(0.35 * room), (0.2, 0.3))
    rim_colour = _tint(rng.normal(0, 0.12)) * (rng.uniform(0.1, 0.7) if rng.random() < 0.5 else 0.02)
    rim = Lamp((rng.choice([-1, 1]) * rng.uniform(0.4, 1), rng.uniform(0.0, 0.8), -0.8), tuple(rim_colour), (0.1, 0.1))
    size = rng.uniform(0.06, 0.35)
    lamps = (Lamp(direction, tuple(key_colour), (size, size * rng.uniform(0.8, 1.8))), fill, rim)
    # Cameras brighten dark faces, but not fully.
    exposure = rng.uniform(1.15, 1.75) * (1 + 0.28 * min(subject.look.skin.melanin, 1.8))
    lit = tuple(Lamp(lamp.direction, tuple(exposure * np.array(lamp.colour)), lamp.half_size) for lamp in lamps)
    return Light(lit, (exposure * ambient).astype(np.float32))  # type: ignore[arg-type]


def _tint(warmth: float) -> np.ndarray:  # [3] linear, of mean 1
    colour = np.array([1 + warmth, 1.0, 1 - 1.3 * warmth])
    return colour / colour.mean()


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:  # [size, size, 3] display sRGB
    """A wall, a gradient, or a room out of focus."""
    base = np.clip(rng.uniform(0.10, 0.88) + rng.normal(0, 0.045, 3), 0, 1)
    wall = rng.random() < 0.5
    coarse = int(rng.integers(2, 5) if wall else rng.integers(5, 11))
    depth, colourful = (0.05, 0.015) if wall else (0.14, 0.035)
    field = rng.normal(0, depth, (coarse, coarse, 1)) + rng.normal(0, colourful, (coarse, coarse, 3))
    channels = [Image.fromarray(field[..., c].astype(np.float32)) for c in range(3)]
    smooth = [_enlarged(channel, size) for channel in channels]
    slope = rng.normal(0, 0.10) * np.linspace(-1, 1, size)[:, None, None]
    return np.clip(base + np.stack(smooth, -1) + slope, 0, 1).astype(np.float32)


def _enlarged(channel: Image.Image, size: int) -> np.ndarray:  # [size, size] without a trace of its few pixels
    fine = np.asarray(channel.resize((48, 48), Image.Resampling.BICUBIC))
    soft = ndimage.gaussian_filter(fine, 48 / channel.width / 2.5, mode="nearest")
    return np.asarray(Image.fromarray(soft).resize((size, size), Image.Resampling.BICUBIC))


def shoot(subject: Subject, frame: FlameSequence, weights: np.ndarray, setting: Setting, *, bare: bool = False) -> Shot:
    """Photograph ``subject`` in the one ``frame``, feeling ``weights [6]``.

    The frame holds the expression already; the weights say what the blood does. A ``bare`` head is without hair,
    clothes and lashes. Linear in nothing but time: about 30 ms for 256 pixels on one core.
    """
    if len(frame) != 1:
        raise ValueError(f"A shot is of one frame, not {len(frame)}.")
    weights = np.asarray(weights, np.float32)
    (vertices,), (joints,) = subject.posed(frame)
    head, look, camera = subject.head, subject.look, setting.camera
    shortened, growth = strain(head.v_template, vertices, head.faces)
    appearance = Appearance(
        texture=look.albedo,
        wrinkles=open_head_wrinkles(),
        folding=look.folds.depth(shortened),
        absorption=blood_change(look.vessels, weights, growth),
        shine=np.broadcast_to(look.shine, (head.n_vertices,)),
        wetness=wetness(look.vessels, weights),
    )
    drawn = look_of(open_head(), rounded=camera.width >= FINE_FROM)
    large = supersampled(camera)
    fitted = () if bare else subject.hair
    worn = [hair.posed(head.v_template, vertices, joints[JOINTS.index("neck")]) for hair in fitted]
    shadow = cast_shadow(drawn, head, vertices, large, setting.light, SHADOW_SIZE)
    for cards in worn:
        cast = rasterize_mesh(cards.vertices, cards.faces, shadow.camera, cards.casts).depth
        np.minimum(shadow.depth, cast, out=shadow.depth)
    seen = samples(drawn, head, vertices, large, appearance, setting.light, shadow, ~lash_faces())
    picture = np.zeros((large.height, large.width, 4), np.float32)
    picture[seen.rows, seen.columns, :3] = seen.light[: len(seen.rows)]
    picture[seen.rows, seen.columns, 3] = 1
    if not bare:
        clothes, lashes = subject.clothes.moved(joints[JOINTS.index("global")]), fit_lashes(vertices, large)
        lit = lit_share(clothes, shadow.camera, shadow.depth)
        cloth = np.array(look.clothes.colour, np.float32)
        off_cloth = strand_light(clothes, large, setting.light, cloth, lit, shine=0.0)
        draw_cards(clothes, off_cloth, large, seen.depth, picture)
        lit = np.ones(len(lashes.vertices), np.float32)
        off_lashes = strand_light(lashes, large, setting.light, look.lash_colour, lit, shine=0.3)
        draw_cards(lashes, off_lashes, large, seen.depth, picture)
    for cards in worn:
        lit = lit_share(cards, shadow.camera, shadow.depth)
        off_strands = strand_light(cards, large, setting.light, look.hair_colour.rgb, lit, look.hair_shine)
        draw_cards(cards, off_strands, large, seen.depth, picture)
    rgb, alpha = np.empty_like(setting.background), np.empty(setting.background.shape[:2], np.float32)
    share_out(display_over, picture, SUPERSAMPLING, display_curve(), setting.background, rgb, alpha)
    return Shot(rgb, alpha, setting, frame, weights, vertices)
