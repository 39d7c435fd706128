"""Tests inside of a real Blender (the `bpy` package), against the zip as a user gets it.

The extension is built, installed into an empty user folder and enabled once, before any test module is imported: so
tests import its modules from `bl_ext.user_default.emo_avatar.emo_avatar_addon`. They run apart from the backend's.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

MODULE = "bl_ext.user_default.emo_avatar"
ROOT = Path(__file__).resolve().parents[2]

if importlib.util.find_spec("bpy") is None:
    collect_ignore_glob = ["*"]  # this Python is the backend's
else:
    _user_folder = Path(tempfile.mkdtemp(prefix="emo-avatar-blender-"))
    os.environ["BLENDER_USER_RESOURCES"] = str(_user_folder)

    import bpy  # isort: skip  (it is what makes addon_utils importable)
    import addon_utils

    def pytest_configure(config):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.extensions.package_install_files(
            filepath=str(_built_zip()), repo="user_default", enable_on_install=True, overwrite=True
        )
        assert addon_utils.check(MODULE) == (True, True), "the extension could not be enabled"

    def pytest_unconfigure(config):
        addon_utils.disable(MODULE, default_set=True)  # or 4.2 crashes and 4.5 hangs at exit
        shutil.rmtree(_user_folder, ignore_errors=True)

    @pytest.fixture(scope="session")
    def backend_python():
        """A Python that has the backend: what EMO_AVATAR_PYTHON names, or this checkout's own."""
        own = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        python = shutil.which(os.environ.get("EMO_AVATAR_PYTHON", own))
        if python is None:
            pytest.skip("no backend: name a Python that has it in EMO_AVATAR_PYTHON")
        return Path(python)

    @pytest.fixture(scope="session")
    def backend(backend_python):
        """The session with a real backend, ready; its `client` is what operators and the timeline use."""
        link = importlib.import_module(f"{MODULE}.emo_avatar_addon.link.session")
        session = link.current()
        session.start(link.Spawned(backend_python, "cpu", isolated=False))
        session.wait_ready(180.0)
        yield session
        session.stop(timeout=10.0)

    @pytest.fixture(autouse=True)
    def scene():
        """An empty file for every test."""
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        return bpy.context.scene


def _built_zip() -> Path:
    """The zip, by Blender's own builder."""
    builder = Path(addon_utils.__file__).parents[1] / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    command = [sys.executable, "-I", builder, "build", "--source-dir", ROOT, "--output-dir", _user_folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(_user_folder.glob("emo_avatar-*.zip"))
