"""Pictures of a scene's avatars from the backend, for the engine, the overlay and the exports."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bpy

from .. import mainloop, preferences
from ..errors import AddonError
from ..link import session
from ..link.client import Client
from ..model import storage
from .camera import View
from .picture import Picture, Render, Shown, fetch_part, fetch_picture

START_TIMEOUT = 180.0  # seconds in which the backend has to be ready
HAND_OVER = 30.0  # seconds in which the main thread has to take something up
LOOK = 0.05  # seconds between two looks at whether the user has cancelled


def want_backend(context: Any) -> None:
    """Start the backend where the preferences allow it. `AddonError` when there is none."""
    reason = preferences.backend_missing(context)
    if reason is not None:
        raise AddonError(f"{reason.rstrip('.')}.")
    preferences.start_backend(context)


def quick_picture(view: View, avatars: Sequence[Shown], factor: int) -> Picture:
    """In any thread: a picture for a viewport. `AddonError` when the backend is not ready, or refuses."""
    return fetch_part(renderer(session.current().client, avatars), view, avatars, "uint8", factor)


def final_picture(view: View, avatars: Sequence[Shown], cancelled: Callable[[], bool] = lambda: False) -> Picture:
    """In any thread: a picture for a render, from a backend that is given the time to get ready.

    `AddonError` when there is no backend, or it refuses.
    """
    if not avatars:
        return fetch_picture(_nobody, view, ())
    client = session.current().wait_ready(START_TIMEOUT, cancelled)
    return fetch_picture(renderer(client, avatars), view, avatars)


def renderer(client: Client, avatars: Sequence[Shown]) -> Render:
    """What `fetch_picture` calls: the client's `render`, with the files of these avatars at hand."""
    files = avatar_files([avatar.avatar_id for avatar in avatars])
    return lambda arrays, document: client.render(arrays, document, files)


def _nobody(arrays: Any, document: Any) -> Any:
    raise AssertionError("the backend is not asked for pictures of nobody")


def avatar_files(avatar_ids: Iterable[str]) -> dict[str, Callable[[], bytes]]:
    """For `Client`: how to get the files of avatars that the backend does not hold."""
    return {avatar_id: functools.partial(avatar_file, avatar_id) for avatar_id in avatar_ids}


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
