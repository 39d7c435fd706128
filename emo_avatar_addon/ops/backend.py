"""Starting, stopping and restarting the backend."""

from typing import Any

from .. import preferences
from ..link import session
from .boundary import EmoOperator


class EMOAVATAR_OT_start_backend(EmoOperator):
    bl_idname = "emo_avatar.start_backend"
    bl_label = "Start Backend"
    bl_description = "Start the program that builds and renders avatars, or start it anew"

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return preferences.backend_missing(context)

    def run(self, context: Any) -> set[str] | None:
        session.current().start(preferences.location(context))
        return None


class EMOAVATAR_OT_stop_backend(EmoOperator):
    bl_idname = "emo_avatar.stop_backend"
    bl_label = "Stop Backend"
    bl_description = "End the program that builds and renders avatars; the artist's work is not touched"

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return "The backend is off" if session.current().health.state is session.State.OFF else None

    def run(self, context: Any) -> set[str] | None:
        session.current().stop()
        return None


CLASSES = (EMOAVATAR_OT_start_backend, EMOAVATAR_OT_stop_backend)
