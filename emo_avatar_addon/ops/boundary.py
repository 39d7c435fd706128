"""The one exception boundary: every operator of the extension runs inside of it."""

import os
import platform
import re
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..errors import AddonError
from ..link import session
from ..link.client import BackendError
from ..translations import sentence

last_report = ""  # of the last accident, as text to copy


class EmoOperator(bpy.types.Operator):
    """Base of every operator: implement `run`, and `disabled_reason` where the button is not always usable.

    A base class cannot carry bpy properties: declare them in the operator itself, or in a plain mixin class.
    """

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        """Why the button is grey, as a sentence; None when it is not."""
        return None

    def run(self, context: Any) -> set[str] | None:
        """The work. None means {"FINISHED"}. Raise `AddonError` for what the user can mend."""
        raise NotImplementedError

    @classmethod
    def poll(cls, context: Any) -> bool:
        reason = cls.disabled_reason(context)
        if reason is not None:
            cls.poll_message_set(sentence(reason))
        return reason is None

    def say(self, template: str, kind: str = "INFO", **values: object) -> None:
        """Report a sentence in the user's language."""
        self.report({kind}, sentence(template, **values))

    def execute(self, context: Any) -> set[str]:
        return guarded(self, lambda: self.run(context))


def guarded(operator: bpy.types.Operator, work: Callable[[], set[str] | None]) -> set[str]:
    """`work`, its `AddonError` said to the user in one sentence, any other exception made a report to copy."""
    try:
        return work() or {"FINISHED"}
    except AddonError as error:
        if isinstance(error, BackendError) and error.report:
            say_accident(operator, str(error), error.report)
        else:
            operator.report({"ERROR"}, masked(sentence(str(error))))
    except Exception as error:
        say_accident(operator, f"{type(error).__name__}: {error}", traceback.format_exc())
    return {"CANCELLED"}


def say_accident(operator: bpy.types.Operator, sentence: str, trace: str) -> None:
    """Keep a report of an accident, print it, and show it where there is a window."""
    global last_report
    last_report = masked(
        f"Emo Avatar: {operator.bl_idname}\n{sentence}\n\n{trace.strip()}\n\n"
        f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {platform.platform()}\n"
        f"Backend: {session.current().health.sentence}\n" + "\n".join(session.current().log[-30:])
    )
    print(last_report, file=sys.stderr)
    operator.report({"ERROR"}, masked(f"Emo Avatar has failed: {sentence}"))
    if bpy.context.window is not None:  # else there is nowhere to show it
        bpy.ops.emo_avatar.show_report("INVOKE_DEFAULT")


def masked(text: str) -> str:
    """`text` without the names of the user's folders."""
    folders = {str(Path.home()): "~", tempfile.gettempdir(): "<temp>"}
    for folder, name in sorted(folders.items(), key=lambda item: -len(item[0])):
        if len(folder) > 1:
            text = text.replace(folder, name).replace(folder.replace("\\", "/"), name)
    user = os.environ.get("USERNAME") or os.environ.get("USER") or ""
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\])", "<user>", text) if user else text


class EMOAVATAR_OT_show_report(EmoOperator):
    bl_idname = "emo_avatar.show_report"
    bl_label = "Emo Avatar: Report"
    bl_description = "What went wrong, as text that can be copied into a message"
    bl_options = {"INTERNAL"}

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return None if last_report else "Nothing has gone wrong"

    def run(self, context: Any) -> set[str] | None:
        context.window_manager.clipboard = last_report
        self.report({"INFO"}, "Report copied")
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=600, confirm_text="Copy")

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 0.7
        lines = [part for line in last_report.splitlines() for part in textwrap.wrap(line, 100) or [""]]
        for line in lines[:50]:
            column.label(text=line, translate=False)


CLASSES = (EMOAVATAR_OT_show_report,)
