"""What a user has set before the test begins: where the backend is, the sidebar open at its tab, a saved file.

And a window into Blender: `state.json` says, twice a second, what the clicks have brought about.
"""

import importlib
import json
import math
import os

import bpy

ADDON = "bl_ext.user_default.emo_avatar"
TAB = "Emo Avatar"
EMOTIONS = ("happy", "sad", "angry", "disgust", "fear", "surprised")

drawn: set[str] = set()


def begin() -> float | None:
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    area.spaces[0].show_region_ui = True
    sidebar = next(region for region in area.regions if region.type == "UI")
    try:
        sidebar.active_panel_category = TAB
    except AttributeError:  # until the sidebar has been drawn for the first time
        return 0.3
    return None


def watch(name: str) -> None:
    """Take note of a panel whenever its contents are drawn, which Blender does while it is open."""
    getattr(bpy.types, name).append(lambda panel, context: drawn.add(name))


def open_panels() -> list[str]:
    """The extension's panels that the sidebar has drawn since the last time."""
    names = sorted(drawn)
    drawn.clear()
    for area in bpy.context.window_manager.windows[0].screen.areas:
        for region in area.regions:
            if area.type == "VIEW_3D" and region.type == "UI":
                region.tag_redraw()
    return names


def curves(avatar: bpy.types.Object) -> list[bpy.types.FCurve]:
    animation = avatar.animation_data
    if animation is None or animation.action is None:
        return []
    if not hasattr(animation.action, "layers"):  # before Blender 4.4
        return list(animation.action.fcurves)
    bags = [strip.channelbag(animation.action_slot) for layer in animation.action.layers for strip in layer.strips]
    return [curve for bag in bags if bag is not None for curve in bag.fcurves]


def sliders(avatar: bpy.types.Object) -> dict[str, float]:
    return {name: round(getattr(avatar.emo_avatar, name), 3) for name in EMOTIONS}


def tell() -> float:
    """What the test waits for."""
    scene = bpy.context.scene
    avatars = [thing for thing in scene.objects if thing.emo_avatar.kind != "none"]
    avatar = next(iter(avatars), None)
    keyed = curves(avatar) if avatar else []
    happy = next((curve for curve in keyed if curve.data_path == "emo_avatar.happy"), None)
    area = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")
    session = importlib.import_module(f"{ADDON}.emo_avatar_addon.link.session")
    state = {
        "frame": scene.frame_current,
        "end": scene.frame_end,
        "playing": bpy.context.window_manager.windows[0].screen.is_animation_playing,
        "splats": scene.emo_avatar_view.show_splats,
        "engine": scene.render.engine,
        "view_transform": scene.view_settings.view_transform,
        "camera": scene.camera.name if scene.camera else "",
        "avatars": {each.name: sliders(each) for each in avatars},
        "places": {each.name: round(each.location.x, 3) for each in avatars},
        "sliders": sliders(avatar) if avatar else {},
        "jaw": math.degrees(avatar.pose.bones["jaw"].rotation_quaternion.angle) if avatar else 0.0,
        "keyed": [point.co[0] for point in keyed[0].keyframe_points] if keyed else [],
        "happy": {int(point.co[0]): round(point.co[1], 3) for point in happy.keyframe_points} if happy else {},
        "baked": bool(avatar and "emo_avatar_baked" in avatar),
        "shading": area.spaces[0].shading.type,
        "looked_at": [round(part, 1) for part in area.spaces[0].region_3d.view_location[:2]],
        "turned": [round(part, 3) for part in area.spaces[0].region_3d.view_rotation],
        "backend": session.current().health.state.name,
        "saved": not bpy.data.is_dirty,
        "panels": open_panels(),
    }
    with open("state.json.new", "w") as file:
        json.dump(state, file)
    os.replace("state.json.new", "state.json")
    return 0.5


preferences = bpy.context.preferences
preferences.view.show_splash = False
preferences.view.ui_scale = 1.1
preferences.use_preferences_save = False
preferences.filepaths.use_auto_save_temporary_files = False
addon = preferences.addons[ADDON].preferences
addon.source, addon.url, addon.token = "REMOTE", os.environ["EMO_AVATAR_URL"], os.environ["EMO_AVATAR_TOKEN"]
for name in ("Cube", "Light"):
    bpy.data.objects.remove(bpy.data.objects[name])
bpy.context.scene.frame_end = 60
bpy.ops.wm.save_as_mainfile(filepath=os.environ["EMO_AVATAR_FILE"])
for name in dir(bpy.types):
    if name.startswith("EMOAVATAR_PT_"):
        watch(name)
bpy.app.timers.register(begin, first_interval=0.5)
bpy.app.timers.register(tell, persistent=True)
