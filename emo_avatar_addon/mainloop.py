"""The way from other threads to Blender's main thread, which alone may touch Blender's data.

In a window a timer runs what was handed over. In background mode timers do not fire: whoever waits there calls `drain`.
"""

import queue
import sys
import time
import traceback
from collections.abc import Callable

import bpy

INTERVAL = 1 / 60  # seconds between two looks

_handed_over: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def call_soon(function: Callable[[], object]) -> None:
    """Have `function` called in the main thread. Safe from any thread; order is kept."""
    _handed_over.put(function)


def drain(until: Callable[[], bool] | None = None, timeout: float = 0.0) -> bool:
    """Main thread only: call what was handed over. With `until`, go on until it holds or `timeout` seconds have passed.

    Returns whether `until` holds (True without it).
    """
    end = time.monotonic() + timeout
    while True:
        _run_all()
        if until is None or until():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.005)


def redraw(status_bar: bool = False) -> None:
    """Have every place drawn anew that shows how work or the backend stands.

    The status bar is no area of the screen: it follows only when its text is set, which a running tool may use.
    """
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
        if status_bar:
            window.workspace.status_text_set_internal(None)


def _run_all() -> None:
    for _ in range(_handed_over.qsize()):  # what is handed over meanwhile waits for the next look
        try:
            function = _handed_over.get_nowait()
        except queue.Empty:
            return
        try:
            function()
        except Exception:
            traceback.print_exc(file=sys.stderr)


def _tick() -> float:
    _run_all()
    return INTERVAL


def register() -> None:
    bpy.app.timers.register(_tick, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    while not _handed_over.empty():
        _handed_over.get_nowait()
