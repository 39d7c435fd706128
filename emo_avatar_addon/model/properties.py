"""`Object.emo_avatar`: everything of an avatar that is keyed or set. Its data paths are a promise to artists' files."""

from collections.abc import Callable, Iterator
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import arkit
from .head_file import N_IDENTITY

EMOTIONS = ("happy", "sad", "angry", "disgust", "fear", "surprised")
LAST_FRAME = 1_048_574  # that Blender can show
VERSION = 1  # of what an avatar's data in a .blend look like; `migration` brings older ones here

_KEYED = {"options": {"ANIMATABLE"}, "override": {"LIBRARY_OVERRIDABLE"}}
_SET = {"options": set(), "override": {"LIBRARY_OVERRIDABLE"}}
_MIXING = (
    "Several emotions at once are mixed as embeddings: the network is asked for one mixed feeling, and answers with a "
    "face of its own. Shapes are not added up"
)

listeners: list[Callable[[bpy.types.Object], object]] = []  # called with an avatar of which a setting was changed
identity_listeners: list[Callable[[bpy.types.Object], object]] = []  # with an open head that was made another person


def tell(avatar: bpy.types.Object) -> None:
    """A setting of this avatar was changed."""
    for listener in listeners:
        listener(avatar)


def _mark(settings: "EmoAvatarSettings", context: bpy.types.Context) -> None:
    tell(settings.id_data)


def _identity_changed(settings: "EmoAvatarSettings", context: bpy.types.Context) -> None:
    if settings.kind == "open" and settings.head:
        for listener in identity_listeners:
            listener(settings.id_data)


def _is_mesh(settings: "EmoAvatarSettings", object: bpy.types.Object) -> bool:
    return object.type == "MESH"


def _emotion(name: str, look: str) -> FloatProperty:
    return FloatProperty(
        name=name, description=f"{look}.\n{_MIXING}", min=0.0, max=1.0, default=0.0, precision=2, subtype="FACTOR",
        update=_mark, **_KEYED,
    )  # fmt: skip


class EmoAvatarSettings(bpy.types.PropertyGroup):
    """An avatar's emotions, eyes and motion"""

    kind: EnumProperty(
        name="Kind",
        description="What the object is",
        items=(
            ("none", "None", "Not an avatar"),
            ("open", "Open Head", "The head that comes with the extension, with sliders for identity"),
            ("avatar", "Avatar", "A person made from a portrait, or imported"),
        ),
        default="none",
        **_SET,
    )
    avatar_id: StringProperty(name="Avatar ID", description="SHA-256 of the avatar file", **_SET)
    head: PointerProperty(name="Head", description="The avatar's mesh", type=bpy.types.Object, poll=_is_mesh, **_SET)
    version: IntProperty(name="Version", description="Version of the avatar's data in this file", **_SET)
    identity: FloatVectorProperty(
        name="Identity",
        description="What this person looks like: the main ways in which heads differ, 0 is the average head",
        size=N_IDENTITY, soft_min=-3.0, soft_max=3.0, min=-5.0, max=5.0, precision=2, update=_identity_changed, **_SET,
    )  # fmt: skip

    happy: _emotion("Happy", "Joy: a smile that reaches the eyes")
    sad: _emotion("Sad", "Sadness: brows drawn up in the middle, corners of the mouth down")
    angry: _emotion("Angry", "Anger: brows down, lips tight")
    disgust: _emotion("Disgust", "Disgust: wrinkled nose, raised upper lip")
    fear: _emotion("Fear", "Fear: brows up and together, eyes wide, lips stretched")
    surprised: _emotion("Surprised", "Surprise: brows and lids up, jaw dropped")
    strength: FloatProperty(
        name="Strength",
        description=(
            "How strongly the emotions show: every emotion is multiplied by this before they are mixed.\n" + _MIXING
        ),
        min=0.0, max=1.0, default=1.0, precision=2, subtype="FACTOR", update=_mark, **_KEYED,
    )  # fmt: skip

    blink: FloatProperty(
        name="Blink", description="Closes both eyes, beside automatic blinks",
        min=0.0, max=1.0, precision=2, subtype="FACTOR", update=_mark, **_KEYED,
    )  # fmt: skip
    blink_auto: BoolProperty(name="Automatic Blinks", description="Blink now and then", update=_mark, **_KEYED)
    blink_seed: IntProperty(
        name="Seed", description="Another number blinks at other times", min=0, update=_mark, **_KEYED
    )
    blink_rate: FloatProperty(
        name="Rate", description="Blinks in a minute, on average",
        min=0.0, soft_max=40.0, max=120.0, default=14.0, precision=1, update=_mark, **_KEYED,
    )  # fmt: skip
    gaze_target: PointerProperty(
        name="Gaze Target", description="The object that the eyes look at", type=bpy.types.Object, update=_mark, **_SET
    )
    gaze_influence: FloatProperty(
        name="Influence", description="How far the eyes turn to the gaze target",
        min=0.0, max=1.0, default=1.0, precision=2, subtype="FACTOR", update=_mark, **_KEYED,
    )  # fmt: skip

    motion_influence: FloatProperty(
        name="Influence", description="How much of the motion track shows under the emotions",
        min=0.0, max=1.0, default=1.0, precision=2, subtype="FACTOR", update=_mark, **_KEYED,
    )  # fmt: skip
    motion_offset: FloatProperty(
        name="Offset", description="How many frames after frame 1 the motion track starts; less than 0 is earlier",
        min=-LAST_FRAME, max=LAST_FRAME, step=100, precision=1, update=_mark, **_KEYED,
    )  # fmt: skip
    motion_speed: FloatProperty(
        name="Speed", description="How fast the motion track plays; 1 is the speed at which it was recorded",
        min=0.01, soft_min=0.1, soft_max=4.0, max=100.0, default=1.0, precision=2, update=_mark, **_KEYED,
    )  # fmt: skip
    motion_loop: BoolProperty(
        name="Loop", description="Start the motion track again when it ends", update=_mark, **_KEYED
    )
    motion_head: BoolProperty(
        name="Head Turn",
        description="Let the motion track turn and move the head. Without it, head and neck are yours to pose",
        default=True, update=_mark, **_KEYED,
    )  # fmt: skip
    motion_eyes: BoolProperty(
        name="Eyes", description="Let the motion track turn the eyes", default=True, update=_mark, **_KEYED
    )


def is_avatar(object: bpy.types.Object | None) -> bool:
    """Whether it is an avatar's armature object whose mesh is still there."""
    if object is None or object.type != "ARMATURE" or object.emo_avatar.kind == "none":
        return False
    head = object.emo_avatar.head
    return head is not None and head.type == "MESH" and head.data.shape_keys is not None


def avatars(scene: bpy.types.Scene) -> Iterator[bpy.types.Object]:
    """The avatars of a scene."""
    return (object for object in scene.objects if is_avatar(object))


def active_avatar(context: bpy.types.Context) -> Any:
    """The avatar (or None) that the active object belongs to: its armature, its mesh, or whatever hangs on them."""
    object = getattr(context, "object", None)  # which the context of some editors lacks
    while object is not None and not is_avatar(object):
        object = object.parent
    return object


def initialise(avatar: bpy.types.Object, kind: str) -> None:
    """Make a new rig an avatar: "open" or "avatar"."""
    add_arkit(avatar)
    avatar.emo_avatar.version = VERSION
    avatar.emo_avatar.kind = kind


def add_arkit(avatar: bpy.types.Object) -> None:
    """The 52 ARKit units as custom properties, each a slider of its own. One that is there keeps its value."""
    for name in arkit.ARKIT_NAMES:
        avatar[name] = float(avatar.get(name, 0.0))
        avatar.id_properties_ui(name).update(
            min=0.0, max=1.0, soft_min=0.0, soft_max=1.0, default=0.0, step=1.0, precision=2, subtype="FACTOR",
            description=f"{arkit.description(name)}. Added to the motion track",
        )  # fmt: skip
        avatar.property_overridable_library_set(f'["{name}"]', True)


CLASSES = (EmoAvatarSettings,)


def register() -> None:
    bpy.types.Object.emo_avatar = PointerProperty(
        name="Emo Avatar", type=EmoAvatarSettings, override={"LIBRARY_OVERRIDABLE"}
    )


def unregister() -> None:
    del bpy.types.Object.emo_avatar
