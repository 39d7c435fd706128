"""Blends of emotions by name, and as assets: actions that hold one pose of the emotion sliders, like a pose library's.

An asset is an ordinary action of this file, marked as an asset: it is copied into asset libraries, tagged, previewed
and linked by Blender's own means, and applied here to the active avatar.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from ..errors import AddonError
from ..model.properties import EMOTIONS
from . import curves, face_icon
from .driving import path
from .keyframes import GROUP

# What two or three feelings at once are called.
BLENDS: Mapping[str, Mapping[str, float]] = {
    "Joy": {"happy": 1.0},
    "Content": {"happy": 0.4},
    "Delight": {"happy": 0.8, "surprised": 0.5},
    "Awe": {"surprised": 0.7, "fear": 0.35, "happy": 0.15},
    "Bittersweet": {"happy": 0.55, "sad": 0.5},
    "Nostalgia": {"happy": 0.3, "sad": 0.3},
    "Relief": {"happy": 0.45, "surprised": 0.25, "sad": 0.15},
    "Melancholy": {"sad": 0.5},
    "Grief": {"sad": 1.0, "fear": 0.2},
    "Despair": {"sad": 0.8, "fear": 0.5},
    "Worry": {"fear": 0.4, "sad": 0.3},
    "Terror": {"fear": 1.0, "surprised": 0.4},
    "Shock": {"surprised": 0.9, "fear": 0.4},
    "Irritation": {"angry": 0.4},
    "Fury": {"angry": 1.0, "disgust": 0.2},
    "Hurt": {"angry": 0.45, "sad": 0.55},
    "Contempt": {"disgust": 0.45, "angry": 0.3, "happy": 0.12},
    "Revulsion": {"disgust": 1.0, "fear": 0.2},
    "Schadenfreude": {"happy": 0.55, "disgust": 0.35},
    "Disbelief": {"surprised": 0.6, "disgust": 0.3},
}

TAG = "Emo Avatar"


def weights(blend: Mapping[str, float]) -> list[float]:  # [6]
    """A blend in the order of the sliders."""
    return [blend.get(name, 0.0) for name in EMOTIONS]


def create(name: str, values: list[float], note: str = "") -> bpy.types.Action:  # [6]
    """An action with one key a slider, marked as an asset, with a small drawn face as its preview."""
    action = bpy.data.actions.new(name)
    bag = curves.new_channels(action, "OBJECT", "Emotions")
    for emotion, value in zip(EMOTIONS, values, strict=True):
        curves.fill(bag.new(path(emotion), group=GROUP), np.array([1.0]), np.array([value]))
    action.asset_mark()
    action.asset_data.description = note or description(values)
    action.asset_data.tags.new(TAG, skip_if_exists=True)
    action.asset_data.author = "Emo Avatar"
    preview = action.preview_ensure()
    preview.image_size = (face_icon.SIZE, face_icon.SIZE)
    preview.image_pixels_float.foreach_set(face_icon.draw(values).ravel())
    return action


def own() -> list[str]:
    """The names of the artist's own blends in this file."""
    assets = (action for action in bpy.data.actions if action.asset_data is not None and action.name not in BLENDS)
    return [action.name for action in assets if any(tag.name == TAG for tag in action.asset_data.tags)]


def read(action: bpy.types.Action) -> list[float]:  # [6]
    """The blend that an action holds. `AddonError` when it holds none."""
    found = {fcurve.data_path: fcurve for bag in curves.all_channels(action) for fcurve in bag.fcurves}
    wanted = {name: found.get(path(name)) for name in EMOTIONS}
    if not any(wanted.values()):
        raise AddonError(f"{action.name} holds no emotions; choose an asset with the tag {TAG}.")
    at = action.frame_range[0]
    return [float(np.clip(fcurve.evaluate(at), 0, 1)) if fcurve else 0.0 for fcurve in wanted.values()]


def read_from(path: Path, name: str) -> list[float]:  # [6]
    """The blend of an action in another file, which leaves no trace here. `AddonError` when it cannot be read."""
    try:
        with bpy.data.temp_data() as library:
            with library.libraries.load(str(path), link=False) as (held, taken):
                taken.actions = [name] if name in held.actions else []
            if not taken.actions:
                raise AddonError(f"{path.name} has no action {name}.")
            return read(taken.actions[0])
    except OSError as error:
        raise AddonError(f"The asset file {path.name} cannot be read.") from error


def description(values: list[float]) -> str:
    """A blend in words."""
    parts = [f"{name} {value:.0%}" for name, value in zip(EMOTIONS, values, strict=True) if value]
    return ", ".join(parts) or "neutral"
