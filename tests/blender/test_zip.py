"""What the zip holds, built where work has left its traces."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import addon_utils
import pytest

ROOT = Path(__file__).parents[2]
CARRIED = ("__init__.py", "LICENSE", "constraints.txt", "blender_manifest.toml", "backend/pyproject.toml")
LEFT_BEHIND = (
    "backend/build/lib/emo_avatar/head/open_head.npz",
    "backend/dist/emo_avatar-0.1.0.whl",
    "backend/emo_avatar.egg-info/PKG-INFO",
    "backend/emo_avatar/render/__pycache__/kernel.nbc",
    "emo_avatar_addon/__pycache__/registration.nbi",
    "dist/emo_avatar-0.1.0.zip",
    "tests/test_something.py",
    "notes.txt",
)


@pytest.fixture
def builder():
    return Path(addon_utils.__file__).parents[1] / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"


def test_carries_what_is_needed_and_nothing_else(tmp_path, builder):
    source, needed = tmp_path / "source", []
    for name in CARRIED:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
        needed.append(name)
    for name in ("emo_avatar_addon/link/pip.py", "backend/emo_avatar/head/build/parts.py", *LEFT_BEHIND):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    command = [sys.executable, "-I", builder, "build", "--source-dir", source, "--output-dir", tmp_path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(next(tmp_path.glob("*.zip"))) as archive:
        names = set(archive.namelist())
    assert names == {*needed, "emo_avatar_addon/link/pip.py", "backend/emo_avatar/head/build/parts.py"}
