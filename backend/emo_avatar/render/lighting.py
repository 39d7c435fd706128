"""Studio light for the mesh view: its lamps, and what they and the camera see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.render.camera import Camera


@dataclass(frozen=True)
class Lamp:
    """A soft box at infinity that stands still relative to the camera."""

    direction: tuple[float, float, float]  # right, up, towards the viewer
    colour: tuple[float, float, float]  # linear
    half_size: tuple[float, float]  # tangents of its half width and half height, as its reflection shows it


KEY = Lamp((-0.55, 0.60, 0.80), (1.28, 1.24, 1.18), (0.26, 0.32))
FILL = Lamp((0.85, 0.10, 0.60), (0.36, 0.39, 0.44), (0.14, 0.34))
RIM = Lamp((0.70, 0.55, -0.75), (0.45, 0.47, 0.50), (0.10, 0.10))
SKY, GROUND = (0.40, 0.42, 0.46), (0.22, 0.19, 0.17)  # ambient light from above and from below

SHADOW_SIZE, SHADOW_DISTANCE = 640, 2.5  # pixels, metres


@dataclass(frozen=True)
class ViewAxes:
    """The camera's axes in the world, in which lamps are given."""

    right: np.ndarray  # [3]
    up: np.ndarray
    towards: np.ndarray  # the viewer

    @classmethod
    def of(cls, camera: Camera) -> ViewAxes:
        rotation = camera.viewmat[:3, :3].astype(np.float32)
        return cls(rotation[0], -rotation[1], -rotation[2])

    def direction(self, lamp: Lamp) -> np.ndarray:  # [3] unit, from the head to the lamp, world
        d = lamp.direction[0] * self.right + lamp.direction[1] * self.up + lamp.direction[2] * self.towards
        return (d / np.linalg.norm(d)).astype(np.float32)


AMBIENT_TERMS = 9  # 1, x, y, z, xy, yz, 3zz - 1, xz, xx - yy: spherical harmonics up to the second band


@dataclass(frozen=True, eq=False)
class Light:
    """All light that falls on a head; it stands still relative to the camera."""

    lamps: tuple[Lamp, Lamp, Lamp]  # the first alone casts shadows
    ambient: np.ndarray  # [9, 3] linear light by the surface's normal (right, up, towards the viewer), `AMBIENT_TERMS`

    @property
    def key(self) -> Lamp:
        return self.lamps[0]

    def ambient_on(self, axes: ViewAxes, normal: np.ndarray) -> np.ndarray:  # [N, 3] world -> [N, 3] linear light
        x, y, z = normal @ axes.right, normal @ axes.up, normal @ axes.towards
        terms = np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1)
        return np.maximum(terms @ self.ambient, 0).astype(np.float32)


def _sky_and_ground() -> np.ndarray:  # [9, 3]
    ambient = np.zeros((AMBIENT_TERMS, 3), np.float32)
    ambient[0], ambient[2] = (np.array(SKY) + GROUND) / 2, (np.array(SKY) - GROUND) / 2
    return ambient


STUDIO = Light((KEY, FILL, RIM), _sky_and_ground())


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light, float32."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def shadow_camera(vertices: np.ndarray, towards: np.ndarray, size: int = SHADOW_SIZE) -> Camera:  # [V, 3], [3] unit
    """What a lamp sees of a mesh; ``towards`` points to the lamp."""
    centre = (vertices.max(0) + vertices.min(0)) / 2
    radius = np.linalg.norm(vertices - centre, axis=1).max()
    fov = 2 * np.degrees(np.arcsin(min(radius / SHADOW_DISTANCE, 0.9)))
    yaw, pitch = np.degrees(np.arctan2(towards[0], towards[2])), np.degrees(np.arcsin(np.clip(towards[1], -1, 1)))
    return Camera.orbit(
        centre, SHADOW_DISTANCE, yaw=float(yaw), pitch=float(np.clip(pitch, -89, 89)), fov=fov, size=size
    )


def view_numbers(camera: Camera, lamp_camera: Camera, light: Light) -> np.ndarray:  # [VIEW_NUMBERS] float32
    """A camera, what the key light sees, and the lamps, as ``light_kernels.illuminate`` reads them."""
    axes = ViewAxes.of(camera)
    parts = [camera.position, camera.viewmat[:3, :3], camera.K[0, 0], camera.width, camera.height]
    parts += [lamp_camera.viewmat[:3], lamp_camera.K[0, 0], lamp_camera.K[:2, 2], lamp_camera.width]
    for lamp in light.lamps:
        parts += [axes.direction(lamp), lamp.colour]
    return np.concatenate([np.ravel(part) for part in (*parts, light.ambient)]).astype(np.float32)
