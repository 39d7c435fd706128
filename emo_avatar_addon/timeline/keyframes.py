"""Keys of the emotion sliders: set, compared, removed, found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bpy
import numpy as np

from ..model.properties import EMOTIONS
from . import curves, sampling
from .driving import path

KEYED = (*EMOTIONS, "strength")  # what Key All keys
GROUP = "Emotions"
_STEP = 1e-4  # smaller changes are rounding


def key(avatar: bpy.types.Object, settings: Iterable[str], frame: float) -> int:
    """Key settings as they are now, in a group that the dope sheet names, and return how many."""
    names = list(settings)
    for name in names:
        avatar.keyframe_insert(path(name), frame=frame, group=GROUP)
    return len(names)


def changed(scene: bpy.types.Scene, avatar: bpy.types.Object) -> list[str]:
    """The sliders that stand elsewhere than their keys have them on this frame, or have no keys and are in use."""
    frame = sampling.current_frame(scene)
    channels = [(path(name), 0) for name in KEYED]
    keyed = sampling.sample(scene, avatar, channels, np.array([frame]))[0]
    now = sampling.current(avatar, channels)
    bag = curves.channels(avatar)
    return [
        name
        for name, a, b in zip(KEYED, keyed, now, strict=True)
        if abs(a - b) > _STEP
        or (
            (bag is None or bag.find(path(name)) is None)
            and abs(b - avatar.emo_avatar.bl_rna.properties[name].default) > _STEP
        )
    ]


def remove(avatar: bpy.types.Object, frame: float) -> int:
    """Remove the emotion keys on a frame and return how many there were."""
    removed = 0
    for fcurve in emotion_curves(avatar):
        for point in [point for point in fcurve.keyframe_points if abs(point.co.x - frame) < 0.5]:
            fcurve.keyframe_points.remove(point)
            removed += 1
        fcurve.update()
    return removed


def emotion_curves(avatar: bpy.types.Object) -> list[bpy.types.FCurve]:
    """The curves of the emotion sliders and their strength."""
    bag = curves.channels(avatar)
    found = [bag.find(path(name)) for name in KEYED] if bag is not None else []
    return [fcurve for fcurve in found if fcurve is not None]


def frames(avatar: bpy.types.Object) -> np.ndarray:  # ascending
    """The frames on which an emotion is keyed."""
    found: set[float] = set()
    for fcurve in emotion_curves(avatar):
        co = np.empty(2 * len(fcurve.keyframe_points), np.float32)
        fcurve.keyframe_points.foreach_get("co", co)
        found.update(co[::2].tolist())
    return np.array(sorted(found))


def neighbour(avatar: bpy.types.Object, frame: float, forward: bool) -> float | None:
    """The next or previous keyed frame; None when there is none."""
    at = frames(avatar)
    beyond = at[at > frame + 1e-3] if forward else at[at < frame - 1e-3]
    if not len(beyond):
        return None
    return float(beyond[0] if forward else beyond[-1])


def weights(avatar: bpy.types.Object) -> list[float]:  # [6]
    """The emotion sliders as they are now."""
    return [getattr(avatar.emo_avatar, name) for name in EMOTIONS]


def set_weights(avatar: bpy.types.Object, values: Sequence[float]) -> None:  # [6]
    """Write the emotion sliders."""
    for name, value in zip(EMOTIONS, values, strict=True):
        if getattr(avatar.emo_avatar, name) != value:
            setattr(avatar.emo_avatar, name, value)
