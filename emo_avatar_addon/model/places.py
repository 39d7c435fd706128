"""In which scenes an object is seen."""

from collections.abc import Sequence

import bpy


def scenes_of(thing: bpy.types.Object) -> Sequence[bpy.types.Scene]:
    """The scenes that hold an object, or else those that hold an instance of a collection with it."""
    return thing.users_scene or _instancing(thing, frozenset())


def _instancing(thing: bpy.types.Object, passed: frozenset[bpy.types.Object]) -> list[bpy.types.Scene]:
    found: dict[bpy.types.Scene, None] = {}
    for holder in bpy.data.objects:
        instanced = holder.instance_collection if holder.instance_type == "COLLECTION" else None
        if instanced is None or holder in passed or all(other != thing for other in instanced.all_objects):
            continue
        found |= dict.fromkeys(holder.users_scene or _instancing(holder, passed | {holder}))
    return list(found)
