"""What a user has set before the test begins: where the backend is, the sidebar open at its tab, a saved file.

And a window into Blender: `state.json` says, twice a second, what the clicks have brought about.
"""

import json
import os

import bpy

ADDON = "bl_ext.user_default.emo_avatar"
TAB = "Emo Avatar"

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


def tell() -> float:
    """What the test waits for."""
    scene = bpy.context.scene
    avatar = next((thing for thing in scene.objects if thing.emo_avatar.kind != "none"), None)
    sliders = {name: getattr(avatar.emo_avatar, name) for name in ("happy", "sad", "surprised")} if avatar else {}
    keyed = curves(avatar) if avatar else []
    state = {
        "frame": scene.frame_current,
        "playing": bpy.context.window_manager.windows[0].screen.is_animation_playing,
        "splats": scene.emo_avatar_view.show_splats,
        "engine": scene.render.engine,
        "view_transform": scene.view_settings.view_transform,
        "camera": scene.camera.name if scene.camera else "",
        "sliders": {name: round(value, 3) for name, value in sliders.items()},
        "keyed": [point.co[0] for point in keyed[0].keyframe_points] if keyed else [],
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
