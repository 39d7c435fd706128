"""A new user's first minutes in Blender, with a real mouse: portrait, keyed emotion, playback, render.

`make test-gui` runs it in Blender 5.2, `make test-gui GUI_BLENDER=4.3` in 4.3, and leaves the screenshots in
``build/gui-5.2`` or ``build/gui-4.3``. Where it cannot run it says why. `work.py` goes on from where this ends.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

from screen import Screen
from steps import BUILDING, MENU, MENUS, SIDEBAR, look, nothing, save, set_frame, set_panel, set_slider, until


def test_from_portrait_to_keyed_emotion(screen: Screen, folder: Path) -> None:
    screen.find("Create", SIDEBAR, wait=BUILDING)
    screen.shot("01-panel")

    screen.click("From Portrait", SIDEBAR)
    screen.double_click_at(*screen.find("photos"))
    screen.click_at(*screen.find("astronaut.png"))
    screen.shot("02-file-browser")
    screen.key("Return")
    time.sleep(3)
    screen.shot("03-progress")
    screen.find("Happy", SIDEBAR, wait=BUILDING)

    until(folder, nothing, lambda state: state["splats"])  # without being asked for
    time.sleep(5)
    screen.shot("04-avatar")
    # Before they are keyed: the colours of keyed fields disturb the reader.
    sliders = {name: screen.find(name, SIDEBAR) for name in ("Happy", "Surprised")}
    key_all = screen.find("Key All", SIDEBAR)
    for frame, values in ((1, {}), (25, {"Happy": 1}), (50, {"Happy": 0, "Surprised": 1})):
        set_frame(screen, folder, frame)
        for emotion, value in values.items():
            set_slider(screen, folder, functools.partial(sliders.get, emotion), emotion.lower(), value)
        until(folder, lambda: screen.click_at(*key_all), lambda state, frame=frame: frame in state["keyed"])
        time.sleep(4)
        screen.shot(f"06-frame-{frame}")

    screen.move(500, 600)
    until(folder, lambda: screen.key("shift+Left"), lambda state: state["frame"] == 1)
    until(folder, lambda: screen.key("space"), lambda state: state["playing"])
    time.sleep(6)
    screen.shot("07-playing")
    until(folder, lambda: screen.key("space"), lambda state: not state["playing"])
    save(screen, folder)
    found = look(folder)["Astronaut"]
    assert found["kind"] == "avatar" and found["stored_bytes"] > 100_000
    assert [key[0] for key in found["curves"]["emo_avatar.happy"]] == [1, 25, 50]
    assert [key[1] for key in found["curves"]["emo_avatar.happy"]] == [0, 1, 0]
    assert found["curves"]["emo_avatar.surprised"][-1] == [50, 1]

    until(
        folder,
        lambda: screen.click("Camera", (1000, 200, 310, 200)),
        lambda state: state["camera"].startswith("Portrait"),
    )

    set_panel(screen, folder, "Create", "EMOAVATAR_PT_create", is_open=False)  # all of the next has room then
    set_panel(screen, folder, "Splats", "EMOAVATAR_PT_view")

    def choose_engine() -> None:
        screen.click("EEVEE", SIDEBAR)
        screen.click("Emo Splats", wait=MENU, in_menu=True)

    until(folder, choose_engine, lambda state: state["engine"] == "EMO_SPLATS")
    until(
        folder,
        lambda: screen.click("Show True Colours", SIDEBAR),
        lambda state: state["view_transform"] == "Standard",
    )
    set_frame(screen, folder, 25)
    screen.click("Render", MENUS)
    screen.click("Render Image")
    screen.find("Render Result", (0, 20, 1600, 30), wait=BUILDING)  # the header: what is rendered would be read, too
    time.sleep(15)
    screen.shot("08-render")
    screen.key("Escape")
