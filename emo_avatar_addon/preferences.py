"""Where the backend is, on which device it computes, and when it starts."""

import threading
from pathlib import Path
from typing import Any

import bpy

from .errors import AddonError
from .link import installer, session
from .link.client import is_this_machine
from .link.session import State

PACKAGE = __package__.rpartition(".")[0]  # the extension's: bl_ext.user_default.emo_avatar
BUNDLE = Path(__file__).parents[1]  # the extension's folder, with the backend's source in it

_installation: installer.Installation | None = None
_remains = False


class EMOAVATAR_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    source: bpy.props.EnumProperty(
        name="Backend",
        description="The program that builds and renders avatars",
        items=(
            ("MANAGED", "Set Up Here", "The extension installs the backend in a folder of its own and looks after it"),
            ("PYTHON", "Existing Python", "A Python on this machine that has the backend installed"),
            ("REMOTE", "Running Backend", "The address and token of a backend that somebody has started"),
        ),
    )
    python: bpy.props.StringProperty(
        name="Python", description="A Python that has the package emo-avatar", subtype="FILE_PATH"
    )
    url: bpy.props.StringProperty(
        name="Address", description="What the backend printed as host and port, for example http://127.0.0.1:40123"
    )
    token: bpy.props.StringProperty(
        name="Token", description="What the backend printed as its token", subtype="PASSWORD"
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What the backend computes on",
        items=(
            ("auto", "Automatic", "CUDA where it works, else the processor"),
            ("cpu", "Processor", "Compute on the processor"),
            ("cuda", "CUDA", "Compute on an NVIDIA graphics card"),
        ),
    )
    auto_start: bpy.props.BoolProperty(
        name="Start When Needed", description="Start the backend by itself when something needs it", default=True
    )

    def draw(self, context: Any) -> None:
        from .ui import preferences as ui  # which needs this module

        ui.draw(self, self.layout, context)


def get(context: Any) -> EMOAVATAR_AP_preferences:
    return context.preferences.addons[PACKAGE].preferences


def folder() -> Path:
    """The extension's own folder for what it installs and keeps; it may not exist yet."""
    return Path(bpy.utils.extension_path_user(PACKAGE))


def installation() -> installer.Installation | None:
    """The backend that the extension has installed. It is looked up once: `installation_changed` looks again."""
    return _installation


def anything_to_remove() -> bool:
    """Whether there is an installation, or downloads of one that failed; looked up as `installation` is."""
    return _remains


def installation_changed() -> None:
    global _installation, _remains
    _installation, _remains = installer.installed(folder()), installer.remains(folder())


def location(context: Any) -> session.Location:
    """The backend that the preferences name. `AddonError` when they do not, or not yet."""
    chosen = get(context)
    if chosen.source == "REMOTE":
        if not chosen.url or not chosen.token:
            raise AddonError("Enter the address and token of the running backend in the preferences.")
        if not is_this_machine(chosen.url) and not bpy.app.online_access:
            raise AddonError("The backend is on another machine: allow online access in Preferences, System, Network.")
        return session.Remote(chosen.url, chosen.token)
    if chosen.source == "PYTHON":
        if not chosen.python:
            raise AddonError("Choose a Python that has the backend in the preferences.")
        return session.Spawned(Path(bpy.path.abspath(chosen.python)), chosen.device, isolated=False)
    made = installation()
    if made is None:
        raise AddonError("The backend is not set up yet: press Set Up Backend in the preferences.")
    return session.Spawned(made.python, chosen.device, cache=installer.models_folder(folder()))


def needs_set_up(context: Any) -> bool:
    """Whether the preferences name no backend."""
    try:
        location(context)
    except AddonError:
        return True
    return False


def backend_missing(context: Any) -> str | None:
    """Why no backend can be asked for anything, as a sentence; None when one is there or can be started."""
    state = session.current().health.state
    if state in (State.READY, State.STARTING, State.LOADING):
        return None
    try:
        location(context)
    except AddonError as error:
        return str(error)
    if state is State.OFF and not get(context).auto_start:
        return "The backend is off: start it first"
    return None


def start_backend(context: Any) -> None:
    """Start the backend unless it runs already."""
    if session.current().health.state in (State.OFF, State.FAILED, State.OUTDATED):
        session.current().start(location(context))


CLASSES = (EMOAVATAR_AP_preferences,)


def register() -> None:
    installation_changed()
    threading.Thread(target=installer.tidy, args=(folder(),), name="Emo Avatar tidies up", daemon=True).start()


def unregister() -> None:
    session.current().stop(timeout=5.0)
