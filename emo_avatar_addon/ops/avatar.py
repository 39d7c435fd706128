"""What operators on avatars have in common."""

from collections.abc import Iterable
from typing import Any

import bpy

from ..model.properties import EMOTIONS, active_avatar, is_avatar
from ..timeline import keyframes
from .boundary import EmoOperator


class AvatarOperator(EmoOperator):
    """Base of operators on the active avatar."""

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return reason_without_avatar(context) or cls.avatar_reason(context, active(context))

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        """Why the button is grey for this avatar."""
        return None


def reason_without_avatar(context: Any) -> str | None:
    """Why there is no avatar to work on, as a sentence; None when there is."""
    avatar = active_avatar(context)
    if avatar is None:
        return "Select an avatar"
    return "The avatar is linked: make a library override to change it" if avatar.library is not None else None


def active(context: Any) -> bpy.types.Object:
    """The active avatar, where `poll` has made sure that there is one."""
    avatar = active_avatar(context)
    assert avatar is not None
    return avatar


def targets(context: Any) -> list[bpy.types.Object]:
    """The selected avatars, and the active one."""
    chosen = [thing for thing in context.selected_objects if is_avatar(thing) and thing.library is None]
    first = active(context)
    return chosen if first in chosen else [first, *chosen]


def autokey(context: Any, avatar: bpy.types.Object, settings: Iterable[str] = EMOTIONS) -> None:
    """Key what a button has changed, when the artist has automatic keying on."""
    if context.scene.tool_settings.use_keyframe_insert_auto:
        keyframes.key(avatar, settings, context.scene.frame_current_final)
