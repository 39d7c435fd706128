"""Tests inside of a real Blender (the `bpy` package), against the zip as a user gets it.

The extension is built, installed into an empty user folder and enabled once, before any test module is imported: so
tests import its modules from `bl_ext.user_default.emo_avatar.emo_avatar_addon`. They run apart from the backend's.
"""

import hashlib
import importlib
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(config):
        """The result stands when pytest is done: Blender as a module may crash while it takes itself down at exit."""
        status = yield
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))

    @pytest.fixture(scope="session")
    def backend_python():
        """A Python that has the backend: what EMO_AVATAR_PYTHON names, or this checkout's own."""
        own = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        python = shutil.which(os.environ.get("EMO_AVATAR_PYTHON", own))
        if python is None:
            pytest.skip("no backend: name a Python that has it in EMO_AVATAR_PYTHON")
        return Path(python)

    @pytest.fixture(scope="session")
    def ready_backend(backend_python):
        """`ready_backend()` is the session with a real backend, ready, whatever a test before has done to it."""
        link = importlib.import_module(f"{MODULE}.emo_avatar_addon.link.session")
        location = link.Spawned(backend_python, "cpu", isolated=False)

        def ready():
            session = link.current()
            if session.location != location or session.health.state is not link.State.READY:
                session.start(location)
                session.wait_ready(600.0)
            return session

        yield ready
        link.current().stop(timeout=60.0)

    @pytest.fixture
    def backend(ready_backend):
        """The session with a real backend; its `client` is what operators and the timeline use."""
        return ready_backend()

    @pytest.fixture(scope="session")
    def astronaut(ready_backend, backend_python):
        """The `.emoavatar` of a real photograph, built by the real backend in its quickest way."""
        photograph = subprocess.run(
            [backend_python, "-c", _PHOTOGRAPH], check=True, capture_output=True, timeout=600
        ).stdout
        client = ready_backend().client
        for event in client.events(client.start_portrait(photograph, "Astronaut", refine=5)):
            assert event["state"] not in ("failed", "cancelled"), event
        return client.avatar_file(event["result"]["id"])

    @pytest.fixture
    def add_astronaut(scene, backend, astronaut):
        """Adds the astronaut to the scene, as an avatar with splats; returns its armature."""
        package = f"{MODULE}.emo_avatar_addon.model"
        head_object, head_file, storage = (
            importlib.import_module(f"{package}.{name}") for name in ("head_object", "head_file", "storage")
        )
        avatar_id = hashlib.sha256(astronaut).hexdigest()
        backend.client.put_avatar(avatar_id, astronaut)
        head = head_file.head_from_message(*backend.client.head(avatar_id))

        def add(name="Astronaut"):
            rig = head_object.create(bpy.context, head, name, None)
            rig.emo_avatar.kind, rig.emo_avatar.avatar_id = "avatar", avatar_id
            storage.write_file(rig, astronaut)
            return rig

        return add

    @pytest.fixture
    def read_exr():
        """Reads an uncompressed EXR of scan lines: its channels by name, [H, W]."""
        return _exr_channels

    @pytest.fixture(scope="session")
    def layouts():
        """The module `layouts.py`: panels are drawn on its `Layout`, or by its `drawn(panel)`."""
        place = importlib.util.spec_from_file_location("layouts", Path(__file__).with_name("layouts.py"))
        module = importlib.util.module_from_spec(place)
        place.loader.exec_module(module)
        return module

    @pytest.fixture(scope="session")
    def fake_folder():
        """Where the small backend is that misbehaves as the environment variable FAKE says."""
        return ROOT / "tests" / "data" / "fake_backend"

    @pytest.fixture
    def fake_backend(fake_folder, monkeypatch):
        """`fake_backend(mode)` makes it the one of the preferences, and starts it."""
        preferences = importlib.import_module(f"{MODULE}.emo_avatar_addon.preferences")
        session = importlib.import_module(f"{MODULE}.emo_avatar_addon.link.session").current()
        chosen = preferences.get(bpy.context)
        before = chosen.source, chosen.python

        def choose(mode, start=True):
            monkeypatch.setenv("FAKE", mode)
            monkeypatch.setenv("PYTHONPATH", str(fake_folder))
            chosen.source, chosen.python = "PYTHON", sys.executable
            if start:
                session.start(preferences.location(bpy.context))

        yield choose
        chosen.source, chosen.python = before
        session.stop(timeout=60.0)

    @pytest.fixture(autouse=True)
    def scene():
        """An empty file for every test."""
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        return bpy.context.scene


_PHOTOGRAPH = """
import sys
from PIL import Image
from skimage import data
Image.fromarray(data.astronaut()).save(sys.stdout.buffer, "PNG")
"""


def _exr_channels(path):
    data = Path(path).read_bytes()
    at, attributes = 8, {}
    while data[at]:
        name, kind, rest = data[at:].split(b"\0", 2)
        at += len(name) + len(kind) + 2
        (size,) = struct.unpack_from("<i", data, at)
        attributes[name.decode()] = data[at + 4 : at + 4 + size]
        at += 4 + size
    assert attributes["compression"] == b"\0", "not uncompressed"
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    types, listed = {}, attributes["channels"]
    while listed[0]:
        name, listed = listed.split(b"\0", 1)
        types[name.decode()] = {1: "<f2", 2: "<f4"}[struct.unpack_from("<i", listed)[0]]
        listed = listed[16:]
    line = np.dtype([("y", "<i4"), ("size", "<i4"), *((name, kind, width) for name, kind in types.items())])
    lines = np.frombuffer(data, line, height, at + 1 + 8 * height)
    return {name: lines[name].astype(np.float32) for name in types}


def _built_zip() -> Path:
    """The zip, by Blender's own builder."""
    builder = Path(addon_utils.__file__).parents[1] / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    command = [sys.executable, "-I", builder, "build", "--source-dir", ROOT, "--output-dir", _user_folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(_user_folder.glob("emo_avatar-*.zip"))
