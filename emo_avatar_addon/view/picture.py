"""What is asked of the backend's renderer and what it answers; colours on their way into Blender. No `bpy`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .camera import View

FAR = 1e10  # depth where there is nothing, as Cycles has it
REACH = 0.7  # metres from an avatar's origin to its farthest splat, hair and shoulders included
DENSE = 1000.0  # pixels for a metre of an avatar, from which on its splats are told apart
MOST_OVERSAMPLING = 4
MOST_PIXELS = 4096 * 4096  # that the backend draws at once
POSE_FIELDS = ("expression", "rotation", "neck_pose", "jaw_pose", "eyes_pose", "translation")


Render = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Mapping[str, np.ndarray]]  # Client.render


@dataclass(frozen=True)
class Shown:
    """An avatar as Blender shows it at one frame; FLAME parameters are in metres and axis-angle radians."""

    avatar_id: str
    world: np.ndarray  # [4, 4] Blender's world from FLAME space: a similarity
    pose: Mapping[str, np.ndarray]  # expression [100]; rotation, neck_pose, jaw_pose, translation [3]; eyes_pose [6]
    # [6] times strength: they colour the skin; the pose has them already
    emotions: np.ndarray = field(default_factory=lambda: np.zeros(6, np.float32))

    @property
    def key(self) -> bytes:
        """Equal for equal looks."""
        fields = (np.asarray(self.pose[name], np.float32).tobytes() for name in POSE_FIELDS)
        felt = np.asarray(self.emotions, np.float32).tobytes()
        return b"".join([self.avatar_id.encode(), np.asarray(self.world, np.float32).tobytes(), felt, *fields])


@dataclass(frozen=True)
class Picture:
    """What a view shows of the avatars."""

    view: View
    rgba: np.ndarray  # [H, W, 4] display sRGB, alpha premultiplied; uint8 or float32
    depth: np.ndarray  # [H, W] float32 metres along the camera's axis, 0 where there is nothing

    def in_scene(self, scene_from_linear: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """For a render result: colours [H, W, 4] as `scene_linear` has them; depth [H, W], `FAR` for nothing."""
        depth = np.where(self.rgba[..., 3] > 0, self.depth - self.view.setback, FAR)
        return scene_linear(self.rgba, scene_from_linear), depth.astype(np.float32)


def oversampling(view: View, avatars: Sequence[Shown]) -> int:
    """How many times larger a picture should be drawn each way, so that the smallest avatar in it keeps its face.

    Splats are never drawn smaller than a pixel; many to a pixel, what lies behind, teeth for instance, shines through.
    """
    factor = 1
    for avatar in avatars:
        place = view.viewmat @ avatar.world[:, 3]
        if place[2] > 0:
            density = np.linalg.norm(avatar.world[:3, 0]) * view.K[0, 0] / place[2]  # pixels for an avatar's metre
            factor = max(factor, int(np.ceil(DENSE / max(density, 1e-6))))
    most = int((MOST_PIXELS / (view.width * view.height)) ** 0.5)
    return max(1, min(factor, MOST_OVERSAMPLING, most))


def reduced(large: Picture, view: View, factor: int) -> Picture:
    """The picture of a view from one with `factor` times its pixels each way."""
    shape = (view.height, factor, view.width, factor)
    alpha = large.rgba[..., 3].reshape(shape).astype(np.float32)
    weight = alpha.sum(axis=(1, 3))
    depth = (large.depth.reshape(shape) * alpha).sum(axis=(1, 3)) / np.maximum(weight, 1e-12)
    rgba = large.rgba.reshape(*shape, 4).mean(axis=(1, 3), dtype=np.float32)
    if large.rgba.dtype == np.uint8:
        rgba = np.rint(rgba).astype(np.uint8)
    return Picture(view, rgba, np.where(weight > 0, depth, np.float32(0)))


def visible_part(view: View, avatars: Sequence[Shown]) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of the pixels that the avatars may cover; None when none of them is in sight."""
    bounds = []
    for avatar in avatars:
        reach = REACH * float(np.linalg.norm(avatar.world[:3, 0]))
        x, y, z = (view.viewmat @ avatar.world @ np.append(avatar.pose["translation"], 1.0))[:3]
        if z <= -reach:
            continue
        if z <= 1.1 * reach:  # in the midst of it
            return 0, 0, view.width, view.height
        corners = [(dx, dz) for dx in (-reach, reach) for dz in (-reach, reach)]
        u = [view.K[0, 0] * (x + dx) / (z + dz) + view.K[0, 2] for dx, dz in corners]
        v = [view.K[1, 1] * (y + dy) / (z + dz) + view.K[1, 2] for dy, dz in corners]
        bounds.append((min(u), min(v), max(u), max(v)))
    if not bounds:
        return None
    low, high = np.min(bounds, axis=0), np.max(bounds, axis=0)
    left, top = int(max(np.floor(low[0]), 0)), int(max(np.floor(low[1]), 0))
    right, bottom = int(min(np.ceil(high[2]), view.width)), int(min(np.ceil(high[3]), view.height))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def fetch_picture(render: Render, view: View, avatars: Sequence[Shown]) -> Picture:
    """Have the backend render for good, float32; an empty picture without asking it when nobody is in sight."""
    size = (view.height, view.width)
    whole = Picture(view, np.zeros((*size, 4), np.float32), np.zeros(size, np.float32))
    part = visible_part(view, avatars)
    if part is not None:
        left, top, width, height = part
        shown = view.cropped(*part)
        picture = fetch_part(render, shown, avatars, "float32", oversampling(shown, avatars))
        whole.rgba[top : top + height, left : left + width] = picture.rgba
        whole.depth[top : top + height, left : left + width] = picture.depth
    return whole


def fetch_part(
    render: Render,
    view: View,
    avatars: Sequence[Shown],
    precision: str,  # "float32" or "uint8"
    factor: int,  # how many times larger it is drawn
) -> Picture:
    """Have the backend render exactly this."""
    if factor > 1:
        return reduced(fetch_part(render, view.scaled(factor), avatars, precision, 1), view, factor)
    arrays = {"viewmat": view.viewmat, "K": view.K}
    for number, avatar in enumerate(avatars):
        arrays[f"{number}.world"], arrays[f"{number}.emotions"] = avatar.world, avatar.emotions
        arrays |= {f"{number}.{name}": avatar.pose[name] for name in POSE_FIELDS}
    document = {
        "width": view.width,
        "height": view.height,
        "avatars": [avatar.avatar_id for avatar in avatars],
        "format": precision,
        "depth": True,
    }
    answer = render(arrays, document)
    return Picture(view, answer["rgba"], answer["depth"])


def scene_linear(rgba: np.ndarray, scene_from_linear: np.ndarray | None = None) -> np.ndarray:  # [H, W, 4], [3, 3]
    """Premultiplied display sRGB as premultiplied scene-linear float32, Rec. 709 unless the matrix says otherwise.

    It is the straight colour that is decoded, so that translucent hair keeps its hue.
    """
    if rgba.dtype == np.uint8:
        rgba = rgba.astype(np.float32) / 255
    out = np.zeros(rgba.shape, np.float32)
    shown = rgba[..., 3] > 0
    alpha = rgba[shown, 3:]
    linear = decode_srgb(rgba[shown, :3] / alpha)
    if scene_from_linear is not None:
        linear = linear @ np.asarray(scene_from_linear, np.float32).T
    out[shown, :3] = linear * alpha
    out[shown, 3:] = alpha
    return out


def decode_srgb(colour: np.ndarray) -> np.ndarray:
    """The transfer curve of IEC 61966-2-1, continued above 1."""
    colour = np.maximum(colour, 0)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """The inverse of `decode_srgb`."""
    linear = np.maximum(linear, 0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
