"""Where the backend is, on which device it computes, and when it starts."""

import os
from pathlib import Path
from typing import Any

import bpy

from .errors import AddonError
from .link import session

PACKAGE = __package__.rpartition(".")[0]  # the extension's: bl_ext.user_default.emo_avatar


class EMOAVATAR_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    source: bpy.props.EnumProperty(
        name="Backend",
        items=(
            ("MANAGED", "Set Up by Emo Avatar", "A virtual environment that the extension installs and looks after"),
            ("PYTHON", "Existing Python", "A Python on this machine that has the backend installed"),
            ("REMOTE", "Running Backend", "The address and token of a backend that somebody has started"),
        ),
    )
    python: bpy.props.StringProperty(
        name="Python", description="A Python that has the emo-avatar package", subtype="FILE_PATH"
    )
    url: bpy.props.StringProperty(name="Address", description="For example http://127.0.0.1:40123")
    token: bpy.props.StringProperty(
        name="Token", description="What the backend printed as its token", subtype="PASSWORD", options={"SKIP_SAVE"}
    )
    device: bpy.props.EnumProperty(
        name="Device",
        items=(
            ("auto", "Automatic", "CUDA where it works, else the processor"),
            ("cpu", "Processor", "Compute on the processor"),
            ("cuda", "CUDA", "Compute on an NVIDIA graphics card"),
        ),
    )
    auto_start: bpy.props.BoolProperty(
        name="Start Automatically", description="Start the backend when it is first needed", default=True
    )

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "source")
        if self.source == "PYTHON":
            layout.prop(self, "python")
        if self.source == "REMOTE":
            layout.prop(self, "url")
            layout.prop(self, "token")
        else:
            layout.prop(self, "device")
        layout.prop(self, "auto_start")


def get(context: Any) -> EMOAVATAR_AP_preferences:
    return context.preferences.addons[PACKAGE].preferences


def folder() -> Path:
    """The extension's own folder for what it installs and keeps; it may not exist yet."""
    return Path(bpy.utils.extension_path_user(PACKAGE))


def location(context: Any) -> session.Location:
    """The backend that the preferences name. `AddonError` when they do not, or not yet."""
    chosen = get(context)
    if chosen.source == "REMOTE":
        if not chosen.url or not chosen.token:
            raise AddonError("Enter the running backend's address and token in the preferences.")
        return session.Remote(chosen.url, chosen.token)
    if chosen.source == "PYTHON":
        python = Path(bpy.path.abspath(chosen.python))
        if not chosen.python or not python.is_file():
            raise AddonError("Choose a Python that has the backend in the preferences.")
        return session.Spawned(python, chosen.device, isolated=False)
    python = folder() / "backend" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        raise AddonError("The backend is not set up yet: press Set Up Backend in the preferences.")
    return session.Spawned(python, chosen.device)


def backend_missing(context: Any) -> str | None:
    """Why no backend can be asked for anything, as a sentence; None when one is there or can be started."""
    if session.current().health.state in (session.State.READY, session.State.STARTING, session.State.LOADING):
        return None
    try:
        location(context)
    except AddonError as error:
        return str(error)
    if session.current().health.state is session.State.OFF and not get(context).auto_start:
        return "The backend is off: start it first"
    return None


def start_backend(context: Any) -> None:
    """Start the backend unless it runs already."""
    if session.current().health.state in (session.State.OFF, session.State.FAILED):
        session.current().start(location(context))


CLASSES = (EMOAVATAR_AP_preferences,)


def register() -> None:
    pass


def unregister() -> None:
    session.current().stop(timeout=5.0)
