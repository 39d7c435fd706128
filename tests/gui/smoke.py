"""A new user's first minutes in Blender, with a real mouse: portrait, keyed emotion, playback, render.

`make test-gui` runs it in Blender 5.2, `make test-gui GUI_BLENDER=4.3` in 4.3, and leaves the screenshots in
``build/gui-5.2`` or ``build/gui-4.3``. Where it cannot run it says why.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import chroot  # noqa: E402
from screen import PATIENCE, SIZE, NotOnScreen, Screen  # noqa: E402

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "build" / f"gui-{chroot.BLENDER}"
DISPLAY = ":97" if chroot.BLENDER == "5.2" else ":98"  # both can run at once
SIDEBAR = (1000, 100, 310, 800)  # where its labels are read
MENUS = (0, 20, 400, 30)
TIMELINE = (900, 880, 700, 70)
TRIES = 4
MENU = 15  # seconds that an open menu may take to be read
BUILDING = 600  # seconds that an avatar may take on a busy machine, the backend's start included

pytestmark = pytest.mark.skipif(chroot.missing() is not None, reason=f"no clicks here: {chroot.missing()}")


@pytest.fixture(scope="session")
def folder() -> Path:
    from PIL import Image
    from skimage import data

    folder = PICTURES / "files"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "photos").mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(folder / "photos" / "astronaut.png")
    (folder / "start.py").write_text((Path(__file__).parent / "start.py").read_text())
    (folder / "look.py").write_text((Path(__file__).parent / "look.py").read_text())
    [built] = (REPOSITORY / "dist").glob("emo_avatar-*.zip")
    (folder / "emo_avatar.zip").write_bytes(built.read_bytes())
    return folder


@pytest.fixture(scope="session")
def backend() -> Iterator[dict]:
    """A backend of this checkout, outside: its libraries are this system's."""
    command = [sys.executable, "-m", "emo_avatar", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()) | {"pid": process.pid}
        process.kill()


@pytest.fixture(scope="session")
def screen(folder: Path, backend: dict) -> Iterator[Screen]:
    chroot.prepare()
    script = f"""
    export DISPLAY={DISPLAY} HOME={folder}/home LIBGL_ALWAYS_SOFTWARE=1 LANG=C.UTF-8
    export BLENDER_USER_RESOURCES={folder}/user
    export EMO_AVATAR_URL=http://127.0.0.1:{backend["port"]} EMO_AVATAR_TOKEN={backend["token"]}
    export EMO_AVATAR_FILE={folder}/scene.blend
    mkdir -p {folder}/user $HOME; cd {folder}
    rm -f /tmp/.X{DISPLAY[1:]}-lock /tmp/.X11-unix/X{DISPLAY[1:]}  # of one that was killed
    Xvfb {DISPLAY} -screen 0 {SIZE[0]}x{SIZE[1]}x24 +extension GLX > screen.log 2>&1 &
    sleep 1.5; openbox > /dev/null 2>&1 &
    blender --command extension install-file -r user_default --enable emo_avatar.zip > install.log 2>&1
    exec blender --window-geometry 0 0 {SIZE[0]} {SIZE[1]} --python start.py > blender.log 2>&1
    """
    process = subprocess.Popen(chroot.command(script, (folder,)), start_new_session=True)
    screen = Screen(DISPLAY, folder, PICTURES)
    try:
        screen.wait()
        yield screen
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def look(folder: Path) -> dict:
    """What the saved file holds, read by another Blender."""
    script = f"cd {folder}; BLENDER_USER_RESOURCES={folder}/user blender -b scene.blend --python look.py"
    done = subprocess.run(chroot.command(script, (folder,)), capture_output=True, text=True, timeout=600)
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, f"the file cannot be looked into: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return json.loads(found[-1])


def until(folder: Path, action: Callable[[], object], done: Callable[[dict], bool]) -> None:
    """Do something until Blender says that it has come about: a slow screen may swallow a click."""
    for _ in range(TRIES):
        with contextlib.suppress(NotOnScreen):  # a menu that has closed again
            action()
        deadline = time.monotonic() + PATIENCE / TRIES
        while time.monotonic() < deadline:
            state = json.loads((folder / "state.json").read_text())
            if done(state):
                return
            time.sleep(0.5)
    raise AssertionError(f"what was clicked did not come about: {state}")


def set_slider(screen: Screen, folder: Path, label: Callable[[], tuple[int, int]], name: str, value: float) -> None:
    """Type into the slider whose label stands where ``label`` says, which is asked again for each try."""

    def enter() -> None:
        x, y = label()
        screen.enter(x + 100, y, str(value))

    until(folder, enter, lambda state: state["sliders"][name] == value)


def set_frame(screen: Screen, folder: Path, frame: int) -> None:
    x, y = screen.find("Start", TIMELINE)
    until(folder, lambda: screen.enter(x - 100, y, str(frame)), lambda state: state["frame"] == frame)


def set_panel(screen: Screen, folder: Path, label: str, panel: str, is_open: bool = True) -> None:
    """Click a panel's header, unless it is as wanted; `panel` is its class."""

    def is_so(state: dict) -> bool:
        return (panel in state["panels"]) == is_open

    if not is_so(json.loads((folder / "state.json").read_text())):
        until(folder, lambda: screen.click(label, SIDEBAR), is_so)


def save(screen: Screen, folder: Path) -> None:
    until(folder, lambda: screen.key("ctrl+s"), lambda state: state["saved"])


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

    until(folder, lambda: None, lambda state: state["splats"])  # without being asked for
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
    screen.click("Render", MENUS)
    screen.click("Render Image")
    screen.find("Render Result", wait=BUILDING)
    time.sleep(15)
    screen.shot("08-render")
    screen.key("Escape")


def test_without_the_backend_nothing_is_lost(screen: Screen, backend: dict, folder: Path) -> None:
    """It is killed; the panel says so, the keyed range still plays, and the window answers."""
    screen.key("Escape")
    os.kill(backend["pid"], signal.SIGKILL)
    set_frame(screen, folder, 25)
    set_slider(screen, folder, lambda: screen.find("Sad", SIDEBAR), "sad", 0.5)  # what has gone wrong moves it down
    screen.find("Edits are not shown", SIDEBAR)
    screen.shot("09-backend-lost")
    screen.move(500, 600)
    save(screen, folder)
    assert look(folder)["Astronaut"]["largest_expression"] > 0.1
