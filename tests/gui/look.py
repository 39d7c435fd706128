"""What a saved file holds, as JSON on the last line of standard output; runs in Blender."""

import json

import bpy

found = {}
for avatar in bpy.data.objects:
    settings = getattr(avatar, "emo_avatar", None)
    if settings is None or settings.head is None:
        continue
    curves = {}
    action = avatar.animation_data and avatar.animation_data.action
    if action:
        holder = action  # before Blender 4.4
        if hasattr(action, "layers"):
            holder = action.layers[0].strips[0].channelbag(avatar.animation_data.action_slot)
        curves = {c.data_path: [tuple(k.co) for k in c.keyframe_points] for c in holder.fcurves}
    keys = settings.head.data.shape_keys.key_blocks
    found[avatar.name] = {
        "kind": settings.kind,
        "curves": curves,
        "stored_bytes": len(settings.head.data.get("emo_avatar_file", b"")),
        "largest_expression": max(abs(key.value) for key in keys if key.name.startswith("expr_")),
    }
print(json.dumps(found))
