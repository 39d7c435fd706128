"""A user's further days, with a real mouse: mixing feelings, baking, two avatars, other views, exports, accidents.

It goes on from where `smoke.py` ends: an astronaut with keys on frames 1, 25 and 50.
"""

from __future__ import annotations

import functools
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from screen import Screen
from steps import (
    BUILDING,
    SIDEBAR,
    TIMELINE,
    VIEW,
    look,
    nothing,
    press,
    save,
    set_frame,
    set_panel,
    set_slider,
    state,
    until,
)

NOBODY = dict.fromkeys(("happy", "sad", "angry", "disgust", "fear", "surprised"), 0.0)
FILES = (100, 0, 300, 720)  # the file browser's window: its left column
FORMATS = (1050, 40, 290, 400)  # and its right one
STANDS = (100, 200, 800, 650)  # where the avatar is seen: x, y, width, height


def test_feelings_by_mouse(screen: Screen, folder: Path) -> None:
    """Clear, the two-dimensional pad, a blend, keyed and taken back."""
    screen.key("Escape")
    set_panel(screen, folder, "Splats", "EMOAVATAR_PT_view", is_open=False)
    set_frame(screen, folder, 25)
    until(folder, nothing, lambda state: state["jaw"] > 1)
    until(folder, lambda: screen.click("Clear", SIDEBAR), lambda state: state["sliders"] == NOBODY)
    until(folder, nothing, lambda state: state["jaw"] < 0.1)  # the mouth closes

    set_panel(screen, folder, "Valence and Arousal", "EMOAVATAR_PT_pad")

    def feel() -> None:
        screen.click("Emotion Pad", SIDEBAR)
        time.sleep(2)
        x, y = screen.pointer()  # Blender has put it where the sliders are: in the middle
        for step in range(1, 5):
            screen.move(x - 20 * step, y + 10 * step)
        time.sleep(4)
        screen.shot("10-pad")
        screen.click_at(x - 83, y + 42)

    until(folder, feel, lambda state: state["sliders"]["sad"] > 0.3 and state["sliders"]["happy"] == 0)
    set_panel(screen, folder, "Valence and Arousal", "EMOAVATAR_PT_pad", is_open=False)

    set_panel(screen, folder, "Blends", "EMOAVATAR_PT_blends")
    until(folder, lambda: screen.click("Bittersweet", SIDEBAR), lambda state: state["sliders"]["happy"] == 0.55)
    screen.shot("11-bittersweet")
    set_panel(screen, folder, "Blends", "EMOAVATAR_PT_blends", is_open=False)
    until(folder, lambda: screen.click("Key Changed", SIDEBAR), lambda state: state["happy"]["25"] == 0.55)
    press(screen, folder, "ctrl+z", lambda state: state["happy"]["25"] == 1)
    press(screen, folder, "ctrl+shift+z", lambda state: state["happy"]["25"] == 0.55)


def test_bake_and_undo(screen: Screen, folder: Path) -> None:
    set_panel(screen, folder, "Bake", "EMOAVATAR_PT_bake")

    def bake() -> None:
        screen.click("Bake to Keyframes", SIDEBAR)
        time.sleep(2)
        screen.key("Return")

    until(folder, bake, lambda state: state["baked"])
    press(screen, folder, "ctrl+z", lambda state: not state["baked"] and state["happy"]["25"] == 0.55)
    press(screen, folder, "ctrl+shift+z", lambda state: state["baked"])
    press(screen, folder, "ctrl+z", lambda state: not state["baked"])
    set_panel(screen, folder, "Bake", "EMOAVATAR_PT_bake", is_open=False)


def test_two_avatars(screen: Screen, folder: Path) -> None:
    """Each has feelings of its own; one is deleted, and comes back."""
    set_panel(screen, folder, "Create", "EMOAVATAR_PT_create")
    astronaut = state(folder)["avatars"]["Astronaut"]
    until(folder, lambda: screen.click("Open Head", SIDEBAR), lambda state: len(state["avatars"]) == 2)
    places = state(folder)["places"]
    assert places["Person"] - places["Astronaut"] > 0.3, "they stand in one another"
    x, y = screen.find("Angry", SIDEBAR)
    until(folder, lambda: screen.enter(x + 100, y, "0.8"), lambda state: state["avatars"]["Person"]["angry"] == 0.8)
    assert state(folder)["avatars"]["Astronaut"] == astronaut
    for _ in range(3):
        screen.click_at(*VIEW, button=5)  # the wheel: both are seen
    time.sleep(4)
    wait_for_person(screen, "12-two")
    x, y = screen.find("Camera", SIDEBAR)
    until(folder, lambda: screen.click_at(x + 61, y), lambda state: list(state["avatars"]) == ["Astronaut"])
    press(screen, folder, "ctrl+z", lambda state: state["avatars"].get("Person") == NOBODY | {"angry": 0.8})
    press(screen, folder, "ctrl+z", lambda state: list(state["avatars"]) == ["Astronaut"])  # before it was added
    until(folder, lambda: screen.click("Frame", SIDEBAR), lambda state: state["looked_at"] == [0, 0])


def test_the_view_turns(screen: Screen, folder: Path) -> None:
    """In the Rendered viewport of Emo Splats, and in Solid: the person is there before, while and after it turns."""

    for name, place in (("Rendered", "8"), ("Solid", "6")):  # in the pie menu
        screen.move(*VIEW)
        shade = functools.partial(screen.key, "z", place)
        until(folder, shade, lambda state, name=name: state["shading"] == name.upper())
        wait_for_person(screen, f"13-{name}")
        before = state(folder)["turned"]
        turn = functools.partial(screen.turn, 450, 700, 520, 690)
        until(folder, turn, lambda state, before=before: state["turned"] != before)
        wait_for_person(screen, f"13-{name}-turned")


def wait_for_person(screen: Screen, name: str) -> None:
    """Until hair, skin and clothes fill a good part of the view, and the picture has come to rest."""
    last, deadline = b"", time.monotonic() + BUILDING
    while True:
        with Image.open(screen.shot(name)) as shot:
            seen = shot.convert("HSV").crop((STANDS[0], STANDS[1], STANDS[0] + STANDS[2], STANDS[1] + STANDS[3]))
        counts = seen.getchannel("S").histogram()
        share = sum(counts[60:]) / sum(counts)
        if share > 0.05 and seen.tobytes() == last:
            return
        assert time.monotonic() < deadline, f"{share:.1%} of the view are coloured"
        last = seen.tobytes()
        time.sleep(1)


def test_exports_by_the_dialog(screen: Screen, folder: Path) -> None:
    x, y = screen.find("End", TIMELINE)
    until(folder, lambda: screen.enter(x + 20, y, "8"), lambda state: state["end"] == 8)
    set_panel(screen, folder, "Create", "EMOAVATAR_PT_create", is_open=False)
    set_panel(screen, folder, "Export", "EMOAVATAR_PT_export")
    x, y = screen.find("Export", SIDEBAR)  # the header; the button under it is called the same

    def export(kind: str | None) -> None:
        screen.click_at(1150, y + 34)
        screen.find("Bookmarks", FILES)
        if kind is not None:
            screen.click("FLAME", FORMATS)
            screen.click(kind, FORMATS, in_menu=True)
        screen.shot(f"14-export-{kind or 'FLAME'}")
        screen.move(700, 600)
        screen.key("Return")  # as the blue button

    for kind, name in ((None, "scene.npz"), ("glTF", "scene.glb")):
        written = folder / name
        until(folder, lambda kind=kind: export(kind), lambda state, written=written: written.exists(), BUILDING)
    assert zipfile.is_zipfile(folder / "scene.npz")
    with open(folder / "scene.glb", "rb") as file:
        magic, _, length = struct.unpack("<4sII", file.read(12))
    assert magic == b"glTF" and length == (folder / "scene.glb").stat().st_size
    time.sleep(5)  # the bar of the export goes, and all panels move up
    set_panel(screen, folder, "Export", "EMOAVATAR_PT_export", is_open=False)


def test_without_the_backend_nothing_is_lost(
    screen: Screen, backend: dict, serve: Callable[[int], dict], folder: Path
) -> None:
    """It is killed; the panel says so, the keyed range still plays, and one click brings the backend back."""
    screen.key("Escape")
    backend["process"].kill()
    set_frame(screen, folder, 5)
    set_panel(screen, folder, "Emotions", "EMOAVATAR_PT_emotions")
    set_slider(screen, folder, lambda: screen.find("Sad", SIDEBAR), "sad", 0.5)  # what has gone wrong moves it down
    screen.find("Edits are not shown", SIDEBAR)
    screen.shot("09-backend-lost")
    screen.move(500, 600)
    save(screen, folder)
    assert look(folder)["Astronaut"]["largest_expression"] > 0.1

    serve(backend["port"])
    until(folder, lambda: screen.click("Restart", SIDEBAR), lambda state: state["backend"] == "READY", BUILDING)
    screen.shot("15-backend-back")
