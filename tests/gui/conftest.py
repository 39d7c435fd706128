"""What the tests that click share: a backend, a screen with a Blender on it, and a folder that both see."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import chroot  # noqa: E402
from screen import SIZE, Screen  # noqa: E402

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PICTURES = REPOSITORY / "build" / f"gui-{chroot.BLENDER}"
DISPLAY = ":97" if chroot.BLENDER == "5.2" else ":98"  # both can run at once
TOKEN = secrets.token_hex(16)


@pytest.fixture(scope="session")
def folder() -> Path:
    if why := chroot.missing():
        pytest.skip(f"no clicks here: {why}")
    from PIL import Image
    from skimage import data

    folder = PICTURES / "files"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "photos").mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(folder / "photos" / "astronaut.png")
    for name in ("start.py", "look.py"):
        shutil.copy(HERE / name, folder)
    [built] = (REPOSITORY / "dist").glob("emo_avatar-*.zip")
    shutil.copy(built, folder / "emo_avatar.zip")
    return folder


@pytest.fixture(scope="session")
def serve(folder: Path) -> Iterator[Callable[[int], dict]]:
    """`serve(port)` starts a backend of this checkout, outside: its libraries are this system's."""
    processes = []

    def start(port: int) -> dict:
        command = [sys.executable, "-m", "emo_avatar", "serve", "--port", str(port), "--token-env", "CLICKS_TOKEN"]
        process = subprocess.Popen(
            command, env=os.environ | {"CLICKS_TOKEN": TOKEN}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        return json.loads(process.stdout.readline()) | {"process": process}

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def backend(serve: Callable[[int], dict]) -> dict:
    return serve(0)


@pytest.fixture(scope="session")
def screen(folder: Path, backend: dict) -> Iterator[Screen]:
    chroot.prepare()
    script = f"""
    export DISPLAY={DISPLAY} HOME={folder}/home LIBGL_ALWAYS_SOFTWARE=1 LANG=C.UTF-8
    export BLENDER_USER_RESOURCES={folder}/user
    export EMO_AVATAR_URL=http://127.0.0.1:{backend["port"]} EMO_AVATAR_TOKEN={TOKEN}
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
