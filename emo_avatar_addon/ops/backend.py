"""Setting the backend up and removing it; starting and stopping it; what it said."""

from typing import Any

import bpy

from .. import preferences
from ..errors import AddonError
from ..link import installer, interpreters, session
from ..ui.text import paragraph
from . import jobs
from .boundary import EmoOperator, masked
from .jobs import Job, JobOperator, Work

_WIDTH = 480


class EMOAVATAR_OT_set_up_backend(JobOperator):
    bl_idname = "emo_avatar.set_up_backend"
    bl_label = "Set Up Backend"
    bl_description = "Install the program that builds and renders avatars, in the extension's own folder"

    needs_backend = False

    device: bpy.props.EnumProperty(
        name="Compute On",
        items=(
            ("cpu", "Processor", "Works everywhere"),
            ("cuda", "NVIDIA Graphics Card", "Much faster; a far larger download"),
        ),
        options={"SKIP_SAVE"},
    )
    python: bpy.props.StringProperty(
        name="Python",
        description=f"{interpreters.WANTED_WORDS} to install with; where none is chosen, one is looked for",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        if not bpy.app.online_access:
            return "Installing needs the internet: allow online access in Preferences, System, Network"
        if any(job.label == cls.bl_label for job in jobs.running):
            return "It is being installed already"
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self._card = interpreters.nvidia_card()
        self.device = "cuda" if self._card else "cpu"
        try:
            self.python = str(interpreters.find().path)
        except AddonError as error:
            self._found = str(error)
        else:
            self._found = ""
        return context.window_manager.invoke_props_dialog(
            self, width=_WIDTH, title="Set Up the Backend of Emo Avatar", confirm_text="Download and Install"
        )

    def draw(self, context: Any) -> None:
        layout = self.layout
        download, disk = (f"{mb / 1000:.1f} GB" for mb in installer.SIZES_MB[self.device])
        say = (
            f"This downloads about {download} from the Python Package Index (PyTorch, MediaPipe, Numba and what they"
            f" need) and from PyTorch's own index, and takes {disk} on the disk.",
            f"It goes into {preferences.folder()}; Remove deletes it again.",
            "Blender can be used meanwhile. Cancel at any time: nothing half-installed stays.",
        )
        for sentence in say:
            paragraph(layout, context, sentence, width=_WIDTH)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "python")
        if self._found:
            paragraph(layout, context, self._found, "ERROR", width=_WIDTH)
        layout.prop(self, "device")
        if self._card:
            layout.label(text=self._card, icon="BLANK1")

    def begin(self, context: Any) -> Work:
        chosen = bpy.path.abspath(self.python) if self.python else ""
        root, device = preferences.folder(), self.device
        session.current().stop()

        def work(job: Job) -> installer.Installation:
            job.report(0.0, "Looking for a Python")
            python = interpreters.probe(chosen) if chosen else interpreters.find()
            return installer.install(installer.plan(root, preferences.BUNDLE, python, device), job.report)

        return work

    def ended(self, context: Any) -> None:
        preferences.installation_changed()

    def finished(self, context: Any, result: installer.Installation) -> set[str] | None:
        preferences.get(context).source = "MANAGED"
        session.current().start(preferences.location(context))
        if self.device == "cuda" and result.device != "cuda":
            self.report({"WARNING"}, "The backend is set up on the processor: no card that it can use was found")
        else:
            self.report({"INFO"}, f"The backend is set up ({result.mb / 1000:.1f} GB)")
        return None


class EMOAVATAR_OT_remove_backend(JobOperator):
    bl_idname = "emo_avatar.remove_backend"
    bl_label = "Remove Backend"
    bl_description = "Delete the backend that the extension has installed, and its model files"

    needs_backend = False

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        if jobs.running:
            return "Work is going on: wait, or cancel it"
        return None if preferences.anything_to_remove() else "The extension has installed no backend"

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def begin(self, context: Any) -> Work:
        root = preferences.folder()

        def work(job: Job) -> None:
            job.report(0.0, "Ending the backend")
            session.current().stop(timeout=10.0)
            job.report(0.3, "Deleting files")
            installer.remove(root)

        return work

    def ended(self, context: Any) -> None:
        preferences.installation_changed()

    def finished(self, context: Any, result: Any) -> set[str] | None:
        self.report({"INFO"}, "The backend is removed")
        return None


class EMOAVATAR_OT_start_backend(EmoOperator):
    bl_idname = "emo_avatar.start_backend"
    bl_label = "Start Backend"
    bl_description = "Start the program that builds and renders avatars, or start it anew. Nothing of your work is lost"

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        try:
            preferences.location(context)
        except AddonError as error:
            return str(error)
        return None

    def run(self, context: Any) -> set[str] | None:
        session.current().start(preferences.location(context))
        return None


class EMOAVATAR_OT_stop_backend(EmoOperator):
    bl_idname = "emo_avatar.stop_backend"
    bl_label = "Stop Backend"
    bl_description = "End the program that builds and renders avatars. Nothing of your work is lost"

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return "The backend is off" if session.current().health.state is session.State.OFF else None

    def run(self, context: Any) -> set[str] | None:
        session.current().stop()
        return None


class EMOAVATAR_OT_show_log(EmoOperator):
    bl_idname = "emo_avatar.show_log"
    bl_label = "Log"
    bl_description = "What the backend, or its installation, said last"

    source: bpy.props.EnumProperty(
        items=(("BACKEND", "Backend", ""), ("INSTALLATION", "Installation", "")), options={"SKIP_SAVE"}
    )

    def invoke(self, context: Any, event: Any) -> set[str]:
        log = (
            session.current().log
            if self.source == "BACKEND"
            else installer.install_log(preferences.folder()).splitlines()
        )
        self._lines = [masked(line) for line in log] or ["Nothing yet."]
        return context.window_manager.invoke_props_dialog(self, width=700, confirm_text="Copy")

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 0.7
        for line in self._lines[-30:]:
            column.label(text=line[:150])

    def run(self, context: Any) -> set[str] | None:
        context.window_manager.clipboard = "\n".join(self._lines)
        self.report({"INFO"}, "Log copied")
        return None


CLASSES = (
    EMOAVATAR_OT_set_up_backend,
    EMOAVATAR_OT_remove_backend,
    EMOAVATAR_OT_start_backend,
    EMOAVATAR_OT_stop_backend,
    EMOAVATAR_OT_show_log,
)
