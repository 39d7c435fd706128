"""The values that keyed properties take over a range of frames, as Blender itself would show them.

Plain F-curves are evaluated where they are. With NLA tracks, drivers or a strange state, a small scene that holds
nothing but the sampled objects is stepped through the range: the artist's own scene is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np

from . import curves

echoing = False  # what Blender now says to have changed has been sampled already

Channel = tuple[str, int]  # data path from the object, array index


def sample(
    scene: bpy.types.Scene, owner: bpy.types.Object, channels: Sequence[Channel], frames: np.ndarray
) -> np.ndarray:  # frames [T], fractions allowed -> [T, len(channels)]
    """Values of float, int and bool properties of `owner` at frames of `scene`; unkeyed ones as they are now."""
    if not _is_plain(owner, {path for path, _ in channels}):
        return _step(scene, [owner], frames, lambda evaluated: [_value(evaluated[0], channel) for channel in channels])
    values = np.tile(current(owner, channels), (len(frames), 1))
    bag = curves.channels(owner)
    if bag is None:
        return values
    at = (np.asarray(frames, float) * time_stretch(scene)).tolist()
    column = {channel: i for i, channel in enumerate(channels)}
    for fcurve in bag.fcurves:
        i = column.get((fcurve.data_path, fcurve.array_index))
        if i is not None and curves.plays(fcurve):
            evaluate = fcurve.evaluate
            values[:, i] = _coerced(owner, fcurve.data_path, np.array([evaluate(frame) for frame in at]))
    return values


def current(owner: bpy.types.Object, channels: Sequence[Channel]) -> np.ndarray:  # [len(channels)]
    """The values as they are now."""
    return np.array([_value(owner, channel) for channel in channels], float)


def is_animated(owner: bpy.types.Object, channels: Sequence[Channel]) -> bool:
    """Whether any of these properties may change over time."""
    if not _is_plain(owner, {path for path, _ in channels}):
        return True
    bag, wanted = curves.channels(owner), set(channels)
    return bag is not None and any((c.data_path, c.array_index) in wanted and curves.plays(c) for c in bag.fcurves)


def world_matrices(
    scene: bpy.types.Scene, objects: Sequence[bpy.types.Object], frames: np.ndarray
) -> np.ndarray:  # [T] -> [T, len(objects), 4, 4]
    """Where objects are at the given frames of `scene`, with parents, constraints and all."""
    if all(_stands_still(thing) for thing in objects):
        return np.tile(np.array([thing.matrix_world for thing in objects]), (len(frames), 1, 1, 1))
    flat = _step(scene, objects, frames, lambda evaluated: np.ravel([thing.matrix_world for thing in evaluated]))
    return flat.reshape(len(frames), len(objects), 4, 4)


def _is_plain(owner: bpy.types.Object, paths: set[str]) -> bool:
    """Whether nothing but curves of the active action moves these properties."""
    animation = owner.animation_data
    if animation is None:
        return True
    if animation.use_tweak_mode or (animation.use_nla and len(animation.nla_tracks)):
        return False
    bag = curves.channels(owner)
    if bag is not None and any(group.mute for group in bag.groups):  # versions differ in what that means
        return False
    return not any(driver.data_path in paths for driver in animation.drivers)


def _stands_still(thing: bpy.types.Object | None) -> bool:
    while thing is not None:
        animation = thing.animation_data
        if thing.constraints or thing.rigid_body or thing.parent_type not in ("OBJECT", "ARMATURE", "LATTICE"):
            return False
        if animation and (animation.action or animation.drivers or len(animation.nla_tracks)):
            return False
        thing = thing.parent
    return True


def _value(owner: bpy.types.Object, channel: Channel) -> float:
    path, index = channel
    value = owner.path_resolve(path)
    return float(value if isinstance(value, (bool, int, float)) else value[index])


def _coerced(owner: bpy.types.Object, path: str, values: np.ndarray) -> np.ndarray:
    """What Blender's animation system makes of curve values when it writes them into a property."""
    holder, _, name = path.rpartition(".")
    if path.startswith('["'):
        limits = owner.id_properties_ui(path[2:-2]).as_dict()
        low, high, kind = limits["min"], limits["max"], type(owner[path[2:-2]])
    else:
        prop = (owner.path_resolve(holder) if holder else owner).bl_rna.properties[name]
        kind = {"BOOLEAN": bool, "INT": int}.get(prop.type, float)
        low, high = (prop.hard_min, prop.hard_max) if kind is not bool else (0, 1)
    if kind is bool:
        return (values > 1.0 - np.finfo(np.float32).eps).astype(float)
    return np.clip(np.trunc(values) if kind is int else values, low, high)


def current_frame(scene: bpy.types.Scene) -> float:
    """The frame that a scene shows. (Its `frame_current_final` is the frame of actions that is shown there.)"""
    return scene.frame_current + scene.frame_subframe


def time_stretch(scene: bpy.types.Scene) -> float:
    """How many frames of actions pass in a frame of the scene: its time remapping."""
    return scene.render.frame_map_old / scene.render.frame_map_new


def _step(
    scene: bpy.types.Scene,
    objects: Sequence[bpy.types.Object],
    frames: np.ndarray,
    read: Callable[[list[bpy.types.Object]], np.ndarray | list[float]],
) -> np.ndarray:  # [T, what `read` returns]
    with _scene_of(scene, objects) as (small, depsgraph), _handlers_silent():
        rows = []
        for frame in np.asarray(frames, float).tolist():
            whole = int(np.floor(frame))
            small.frame_set(whole, subframe=frame - whole)
            rows.append(read([thing.evaluated_get(depsgraph()) for thing in objects]))
    return np.array(rows, float)


@contextmanager
def _scene_of(
    scene: bpy.types.Scene, objects: Sequence[bpy.types.Object]
) -> Iterator[tuple[bpy.types.Scene, Callable[[], bpy.types.Depsgraph]]]:
    small = bpy.data.scenes.new("Emo Avatar Sampling")
    try:
        for name in ("fps", "fps_base", "frame_map_old", "frame_map_new"):
            setattr(small.render, name, getattr(scene.render, name))
        for thing in dict.fromkeys(objects):
            small.collection.objects.link(thing)
        yield small, lambda: small.view_layers[0].depsgraph
    finally:
        bpy.data.scenes.remove(small)
        _take_echo()


def _take_echo() -> None:
    """A scene that comes and goes has Blender say that everything has changed. It says so now, while we do not listen,
    or each sampling would be followed by another."""
    global echoing
    echoing = True
    try:
        for window in bpy.context.window_manager.windows:
            window.view_layer.update()
    finally:
        echoing = False


@contextmanager
def _handlers_silent() -> Iterator[None]:
    """No add-on hears of the frames that are stepped through."""
    names = ("frame_change_pre", "frame_change_post", "depsgraph_update_pre", "depsgraph_update_post")
    lists = [getattr(bpy.app.handlers, name) for name in names]
    kept = [list(handlers) for handlers in lists]
    for handlers in lists:
        handlers.clear()
    try:
        yield
    finally:
        for handlers, functions in zip(lists, kept, strict=True):
            handlers[:] = functions
