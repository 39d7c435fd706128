"""A Debian with a Blender that has windows, a virtual screen and a mouse, for tests that click.

Blenders from the Python Package Index have no windows; Debian's releases have one each. It is unpacked once into a
folder of its own by `mmdebstrap`, and what runs in it sees the machine's network, the folders that are lent to it, and
nothing else.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
SUITES = {"5.2": "sid", "4.3": "trixie"}  # a Blender's version, and the Debian that has it
BLENDER = os.environ.get("GUI_BLENDER", "5.2")
PACKAGES = (
    *("blender", "python3-numpy", "python3-cattr", "python3-requests", "libgl1-mesa-dri", "ca-certificates"),
    *("xvfb", "openbox", "xdotool", "imagemagick", "tesseract-ocr"),
)
ROOT = Path(os.environ.get("EMO_AVATAR_CHROOT", Path.home() / ".cache" / "emo-avatar-gui" / SUITES.get(BLENDER, "")))


def missing() -> str | None:
    """Why the tests that click cannot run here; None when they can."""
    if BLENDER not in SUITES:
        return f"they need a Blender that a Debian has: {' or '.join(SUITES)}, not {BLENDER}"
    if sys.platform != "linux":
        return "they need Linux"
    if os.geteuid() != 0:
        return "they need to run as root, to enter a chroot"
    if not (ROOT / "usr/bin/blender").exists() and shutil.which("mmdebstrap") is None:
        return "they need mmdebstrap (apt install mmdebstrap)"
    if shutil.which("unshare") is None:
        return "they need unshare (util-linux)"
    return None


def prepare() -> None:
    """Unpack the system, if it is not there yet: some 2 GB, two minutes."""
    if (ROOT / "usr/bin/blender").exists():
        return
    unfinished = ROOT.with_name(f"{ROOT.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    # A mirror may be a snapshot that is older than its signatures say they hold.
    options = ("--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"', f"--include={','.join(PACKAGES)}")
    subprocess.run(["mmdebstrap", *options, SUITES[BLENDER], unfinished, MIRROR], check=True)
    unfinished.rename(ROOT)


def command(script: str, lent: tuple[Path, ...] = ()) -> list[str]:
    """A command line that runs a shell script inside; each folder of ``lent`` has the path there that it has here.

    The mounts are the process's own and end with it.
    """
    mounts = ["mount -t proc proc {root}/proc", "mount --rbind /dev {root}/dev"]
    for folder in lent:
        place = shlex.quote(f"{ROOT}{folder}")
        mounts.append(f"mkdir -p {place} && mount --bind {shlex.quote(str(folder))} {place}")
    setup = " && ".join(mounts).replace("{root}", shlex.quote(str(ROOT)))
    inside = f"exec chroot {shlex.quote(str(ROOT))} /bin/sh -c {shlex.quote(script)}"
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", f"{setup} && {inside}"]
