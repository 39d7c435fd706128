"""What a user does in Blender, step by step, until Blender says that it has come about."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import chroot
from screen import PATIENCE, NotOnScreen, Screen

SIDEBAR = (1000, 100, 310, 800)  # where its labels are read
MENUS = (0, 20, 400, 30)
TIMELINE = (900, 880, 700, 70)
VIEW = (500, 600)  # a place in the 3D view where nothing is
TRIES = 4
MENU = 15  # seconds that an open menu may take to be read
BUILDING = 600  # seconds that an avatar may take on a busy machine, the backend's start included


def look(folder: Path) -> dict:
    """What the saved file holds, read by another Blender."""
    script = f"cd {folder}; BLENDER_USER_RESOURCES={folder}/user blender -b scene.blend --python look.py"
    done = subprocess.run(chroot.command(script, (folder,)), capture_output=True, text=True, timeout=600)
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, f"the file cannot be looked into: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return json.loads(found[-1])


def state(folder: Path) -> dict:
    """What Blender says of itself now."""
    return json.loads((folder / "state.json").read_text())


def until(folder: Path, action: Callable[[], object], done: Callable[[dict], bool], patience: float = PATIENCE) -> None:
    """Do something until Blender says that it has come about: a slow screen may swallow a click."""
    for _ in range(TRIES):
        with contextlib.suppress(NotOnScreen):  # a menu that has closed again
            action()
        deadline = time.monotonic() + patience / TRIES
        while time.monotonic() < deadline:
            if done(state(folder)):
                return
            time.sleep(0.5)
    raise AssertionError(f"what was clicked did not come about: {state(folder)}")


def nothing() -> None:
    """What one does while one waits."""


def press(screen: Screen, folder: Path, key: str, done: Callable[[dict], bool]) -> None:
    """A key, with the pointer over the 3D view; again, if it takes more than one."""
    screen.move(*VIEW)
    until(folder, lambda: screen.key(key), done)


def set_slider(screen: Screen, folder: Path, label: Callable[[], tuple[int, int]], name: str, value: float) -> None:
    """Type into the slider whose label stands where ``label`` says, which is asked again for each try."""

    def enter() -> None:
        x, y = label()
        screen.enter(x + 100, y, str(value))

    until(folder, enter, lambda state: state["sliders"][name] == value)


def set_frame(screen: Screen, folder: Path, frame: int) -> None:
    x, y = frame_field(screen)
    until(folder, lambda: screen.enter(x, y, str(frame)), lambda state: state["frame"] == frame)


@functools.cache
def frame_field(screen: Screen) -> tuple[int, int]:
    """Where the current frame stands, left of the range's first one. It stays there: to read it once is enough."""
    x, y = screen.find("Start", TIMELINE)
    return x - 100, y


def set_panel(screen: Screen, folder: Path, label: str, panel: str, is_open: bool = True) -> None:
    """Click a panel's header, unless it is as wanted; `panel` is its class."""

    def is_so(state: dict) -> bool:
        return (panel in state["panels"]) == is_open

    if not is_so(state(folder)):
        until(folder, lambda: screen.click(label, SIDEBAR), is_so)


def save(screen: Screen, folder: Path) -> None:
    until(folder, lambda: screen.key("ctrl+s"), lambda state: state["saved"])
