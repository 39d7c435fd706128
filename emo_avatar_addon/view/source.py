"""Pictures of a scene's avatars from the backend, for the engine, the overlay and the exports."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import bpy

from .. import mainloop, preferences
from ..errors import AddonError
from ..link import session
from ..model import storage
from .camera import View
from .picture import Picture, Shown, fetch_picture

START_TIMEOUT = 180.0  # seconds in which the backend has to be ready
HAND_OVER = 30.0  # seconds in which the main thread has to take something up
LOOK = 0.05  # seconds between two looks at whether the user has cancelled


def want_backend(context: Any) -> None:
    """Start the backend where the preferences allow it. `AddonError` when there is none."""
    reason = preferences.backend_missing(context)
    if reason is not None:
        raise AddonError(f"{reason.rstrip('.')}.")
    preferences.start_backend(context)


def picture(
    view: View,
    avatars: Sequence[Shown],
    precision: str,  # "float32" or "uint8"
    *,
    wait: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> Picture:
    """In any thread: the picture from the backend, which with `wait` is given the time to get ready.

    `AddonError` when there is no backend, or it refuses.
    """
    if not avatars:
        return fetch_picture(lambda arrays, document: {}, view, (), precision)
    current = session.current()
    client = current.wait_ready(START_TIMEOUT, cancelled) if wait else current.client
    files = {avatar.avatar_id: functools.partial(avatar_file, avatar.avatar_id) for avatar in avatars}
    return fetch_picture(lambda arrays, document: client.render(arrays, document, files), view, avatars, precision)


def avatar_file(avatar_id: str) -> bytes:
    """In any thread: the `.emoavatar` that the .blend keeps. `AddonError` when it has lost it."""

    def read() -> bytes | None:
        for thing in bpy.data.objects:
            if thing.type == "ARMATURE" and thing.emo_avatar.avatar_id == avatar_id:
                data = storage.read_file(thing)
                if data is not None:
                    return bytes(data)
        return None

    data = in_main_thread(read)
    if data is None:
        raise AddonError("This file has lost the avatar's splats, and so has the backend: import the avatar again.")
    return data


def in_main_thread(function: Callable[[], Any]) -> Any:
    """What `function` returns or raises, called by Blender's main thread. Not while that waits for this thread."""
    if threading.current_thread() is threading.main_thread():
        return function()
    done = threading.Event()
    outcome = Outcome(function)

    def run() -> None:
        outcome.run()
        done.set()

    mainloop.call_soon(run)
    if not done.wait(HAND_OVER):
        raise AddonError("Blender was too busy to go on with this; try again.")
    return outcome.get()


def cancellable(work: Callable[[], Any], cancelled: Callable[[], bool]) -> Any:
    """What `work` returns or raises, from a thread of its own; None at once when the user has cancelled."""
    outcome = Outcome(work)
    thread = threading.Thread(target=outcome.run, name="Emo Avatar render", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK)
        if threading.current_thread() is threading.main_thread():
            mainloop.drain()
        if cancelled():
            return None
    return outcome.get()


class Outcome:
    """Carries what a function returned or raised from one thread to another."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._failure = error

    def get(self) -> Any:
        if self._failure is not None:
            raise self._failure
        return self._value
