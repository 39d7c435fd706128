"""What a user has set before the test begins: where the backend is, the sidebar open at its tab, a saved file."""

import os

import bpy

ADDON = "bl_ext.user_default.emo_avatar"
TAB = "Emo Avatar"


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
bpy.app.timers.register(begin, first_interval=0.5)
