"""Eyes in the mesh view: a white, an iris seen through the cornea, and the lamps mirrored in the tear film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.data import JOINTS, HeadData
from emo_avatar.render.light_kernels import bilinear
from emo_avatar.render.lighting import Lamp, Light, ViewAxes, linear

EYES = {"eye_left": "left_eye", "eye_right": "right_eye"}  # part: joint

IRIS_RADIUS = 0.0057  # metres
CORNEA_INDEX = 1.376
CORNEA_RADIUS = 0.56  # of the eyeball's; the cornea is more curved than the white
IRIS_DEPTH = 0.06  # of the eyeball's radius, by which the iris lies behind the limbus
REFLECTANCE = 0.030  # of the tear film at normal incidence
WHITE_WRAP = 0.25  # light scatters in the white beyond the terminator

# Eyes of heads without a texture: colour by angle from the gaze, as a share of the iris' angle.
PLAIN_SHARE = (0.0, 0.33, 0.38, 0.6, 0.85, 1.0, 1.08, 4.0)
PLAIN_COLOUR = np.array(
    [
        (0.02, 0.02, 0.02),
        (0.02, 0.02, 0.02),
        (0.36, 0.24, 0.14),
        (0.30, 0.19, 0.11),
        (0.22, 0.14, 0.09),
        (0.12, 0.09, 0.08),
        (0.86, 0.85, 0.83),
        (0.80, 0.72, 0.69),
    ]
)


@dataclass(frozen=True)
class _Eye:
    """Where an eye is, how large, and where it looks."""

    centre: np.ndarray  # [3]
    axes: np.ndarray  # [3, 3], rows: the eye's right, up and gaze in the world
    radius: float

    @classmethod
    def of(cls, head: HeadData, vertices: np.ndarray, part: str) -> _Eye:
        regressor = head.J_regressor[JOINTS.index(EYES[part])]
        own = head.part(part)
        rest_centre, centre = regressor @ head.v_template, regressor @ vertices
        rest, now = head.v_template[own] - rest_centre, vertices[own] - centre
        u, _, vt = np.linalg.svd(rest.T @ now)
        turn = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        return cls(centre, u @ turn @ vt, float(np.median(np.linalg.norm(now, axis=1))))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _refract(ray: np.ndarray, normal: np.ndarray, ratio: float) -> np.ndarray:
    """Snell's law for unit ``ray [N, 3]`` meeting ``normal [N, 3]``; ``ratio`` of the indices, outside over inside."""
    cosine = -(ray * normal).sum(1, keepdims=True)
    under = 1 - ratio**2 * (1 - cosine**2)
    return ratio * ray + (ratio * cosine - np.sqrt(np.maximum(under, 0))) * normal


def _mirrored(lamp: Lamp, axes: ViewAxes, reflected: np.ndarray) -> np.ndarray:  # [N, 3] -> [N]
    """How much of a lamp's box a reflected ray sees, with a soft edge."""
    towards = axes.direction(lamp)
    across = _unit(np.cross(axes.up, towards))
    over = np.cross(towards, across)
    along = reflected @ towards
    a, b = (np.abs(reflected @ axis) / np.maximum(along, 1e-3) for axis in (across, over))
    a, b = a / lamp.half_size[0], b / lamp.half_size[1]
    edge = 0.18
    return np.clip((1 - a) / edge, 0, 1) * np.clip((1 - b) / edge, 0, 1) * (along > 0)


def _disc_uv(head: HeadData, part: str, direction: np.ndarray) -> np.ndarray:  # [N, 3] eye space -> [N, 2]
    """Texture coordinates of directions from the eye's centre, by the eye's own map: a disc round the gaze."""
    faces = head.face_part == head.part_names.index(part)
    vertex, corner = head.faces[faces].ravel(), head.uv_faces[faces].ravel()
    centre = head.J_regressor[JOINTS.index(EYES[part])] @ head.v_template
    rest = _unit(head.v_template[vertex] - centre)
    angle = np.arccos(np.clip(rest[:, 2], -1, 1))
    pole = head.uv[corner[angle.argmin()]]
    radius = np.linalg.norm(head.uv[corner] - pole, axis=1)
    order = np.argsort(angle)
    wanted = np.arccos(np.clip(direction[:, 2], -1, 1))
    reach = np.interp(wanted, angle[order], radius[order])
    flat = _unit(direction[:, :2])
    return pole + reach[:, None] * flat


def eye_light(
    head: HeadData,
    part: str,
    vertices: np.ndarray,  # [V, 3] metres, world
    axes: ViewAxes,
    texture: np.ndarray | None,  # [h, w, 3] linear light
    points: np.ndarray,  # [N, 3] on the eye
    outward: np.ndarray,  # [N, 3] unit, to the viewer
    open_share: np.ndarray,  # [N]
    lit: np.ndarray,  # [N] share of the key light
    light: Light,
    wetness: float = 1.0,
) -> np.ndarray:  # [N, 3] linear light
    """Light that one eye sends to the viewer; ``wetness`` above 1 has tears mirror more of it."""
    key_lamp, fill_lamp, _ = light.lamps
    eye = _Eye.of(head, vertices, part)
    iris_angle = np.arcsin(np.clip(IRIS_RADIUS / eye.radius, 0, 0.9))
    limbus, rim = np.cos(iris_angle), np.sin(iris_angle)
    local = _unit((points - eye.centre) @ eye.axes.T)
    ray = -(outward @ eye.axes.T)

    angle = np.arccos(np.clip(local[:, 2], -1, 1))
    on_cornea = np.clip((iris_angle * 1.05 - angle) / (0.12 * iris_angle), 0, 1)[:, None]
    cornea_centre = np.array([0, 0, limbus - np.sqrt(max(CORNEA_RADIUS**2 - rim**2, 0.0))])
    normal = _unit(local + on_cornea * (_unit(local - cornea_centre) - local))

    # Through the cornea the iris is seen displaced, on a plane behind the limbus.
    bent = _refract(ray, normal, 1 / CORNEA_INDEX)
    to_plane = (limbus - IRIS_DEPTH - local[:, 2]) / np.minimum(bent[:, 2], -0.2)
    hit = local + np.clip(to_plane, 0, 1)[:, None] * bent
    share = np.linalg.norm(hit[:, :2], axis=1) / rim
    behind = np.c_[_unit(hit[:, :2]) * np.sin(share * iris_angle)[:, None], np.cos(share * iris_angle)]
    direction = _unit(local + on_cornea * (behind - local))
    if texture is None:
        seen = np.arccos(np.clip(direction[:, 2], -1, 1)) / iris_angle
        albedo = linear(np.stack([np.interp(seen, PLAIN_SHARE, PLAIN_COLOUR[:, c]) for c in range(3)], 1))
    else:
        albedo = bilinear(texture, _disc_uv(head, part, direction))

    world = local @ eye.axes
    key = axes.direction(key_lamp)
    shaded = np.sqrt(open_share)[:, None]
    irradiance = light.ambient_on(axes, world) * open_share[:, None]
    for lamp, reach in ((key_lamp, lit), (fill_lamp, 1.0)):
        cosine = world @ axes.direction(lamp)
        spread = np.clip((cosine + WHITE_WRAP) / (1 + WHITE_WRAP), 0, None) * reach
        irradiance = irradiance + spread[:, None] * np.array(lamp.colour) * shaded
    # The cornea gathers light on the side of the iris away from the lamp.
    gathered = 1 - 0.9 * (hit[:, :2] / rim) @ (eye.axes @ key)[:2]
    irradiance = irradiance * (1 + on_cornea * np.clip(gathered - 1, -0.35, 0.6)[:, None])

    mirror = 2 * (normal * -ray).sum(1, keepdims=True) * normal + ray
    reflected = _unit(mirror) @ eye.axes
    fresnel = REFLECTANCE + (1 - REFLECTANCE) * (1 - np.clip(-(normal * ray).sum(1), 0, 1)) ** 5
    glint = sum(
        _mirrored(lamp, axes, reflected)[:, None] * np.array(lamp.colour) * gain * seen[:, None]
        for lamp, gain, seen in ((key_lamp, 14.0, np.clip(2 * lit, 0, 1)), (fill_lamp, 4.0, open_share))
    )
    sheen = light.ambient_on(axes, reflected) * open_share[:, None]
    return albedo * irradiance + wetness * fresnel[:, None] * (glint + sheen)
