"""The backend's buttons: set up, start, stop, restart, remove."""

import dataclasses
import shutil
import sys
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop, preferences
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import installer, session
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link.session import State


@pytest.fixture
def chosen():
    """The preferences, as they were afterwards."""
    chosen = preferences.get(bpy.context)
    names = ("source", "python", "url", "token", "device", "auto_start")
    before = {name: getattr(chosen, name) for name in names}
    online = bpy.context.preferences.system.use_online_access
    yield chosen
    bpy.context.preferences.system.use_online_access = online
    for name, value in before.items():
        setattr(chosen, name, value)


@pytest.fixture
def small_bundle(tmp_path, monkeypatch, fake_folder):
    """An extension that carries a small backend, and a machine without a network."""
    shutil.copytree(fake_folder, tmp_path / "backend")
    (tmp_path / "constraints.txt").touch()
    monkeypatch.setattr(preferences, "BUNDLE", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    plan = installer.plan
    monkeypatch.setattr(installer, "plan", lambda *a: dataclasses.replace(plan(*a), torch=None, finishing=()))


def health(*states, timeout=600.0):
    assert mainloop.drain(lambda: session.current().health.state in states, timeout), session.current().health
    return session.current().health


def test_starts_restarts_after_a_death_and_stops(fake_backend):
    fake_backend("dies", start=False)
    assert bpy.ops.emo_avatar.start_backend() == {"FINISHED"}
    assert "killed" in health(State.FAILED).sentence
    fake_backend("", start=False)
    bpy.ops.emo_avatar.start_backend()
    health(State.READY)
    bpy.ops.emo_avatar.stop_backend()
    health(State.OFF)
    assert not bpy.ops.emo_avatar.stop_backend.poll()


def test_says_what_is_missing(chosen):
    chosen.source = "MANAGED"
    assert "not set up yet" in preferences.backend_missing(bpy.context)
    chosen.source = "PYTHON"
    assert "Choose a Python" in preferences.backend_missing(bpy.context)
    chosen.source = "REMOTE"
    assert "Enter the address" in preferences.backend_missing(bpy.context)
    chosen.url, chosen.token = "http://render.example:1", "secret"
    bpy.context.preferences.system.use_online_access = False
    assert "allow online access" in preferences.backend_missing(bpy.context)
    chosen.url = "http://127.0.0.1:1"
    assert preferences.backend_missing(bpy.context) is None
    chosen.auto_start = False
    assert "off: start it" in preferences.backend_missing(bpy.context)


def test_a_python_without_the_backend_is_told(chosen):
    chosen.source, chosen.python = "PYTHON", sys.executable
    bpy.ops.emo_avatar.start_backend()
    assert "does not have the backend" in health(State.FAILED).sentence


def test_setting_up_needs_consent_to_be_online(chosen):
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(RuntimeError, match="allow online access"):
        bpy.ops.emo_avatar.set_up_backend(python=sys.executable)


def test_sets_up_starts_and_removes(chosen, small_bundle):
    bpy.context.preferences.system.use_online_access = True
    assert bpy.ops.emo_avatar.set_up_backend(python=sys.executable, device="cpu") == {"FINISHED"}
    made = preferences.installation()
    assert made.is_whole and made.folder.parent == preferences.folder()
    assert Path(bpy.utils.extension_path_user(preferences.PACKAGE)) in made.python.parents
    health(State.READY)
    assert session.current().location.python == made.python
    assert bpy.ops.emo_avatar.remove_backend() == {"FINISHED"}
    assert preferences.installation() is None and session.current().health.state is State.OFF
    assert list(preferences.folder().iterdir()) == []


def test_a_python_that_is_none_changes_nothing(chosen, small_bundle, tmp_path):
    bpy.context.preferences.system.use_online_access = True
    with pytest.raises(RuntimeError, match="not a Python"):
        bpy.ops.emo_avatar.set_up_backend(python=str(tmp_path / "python"))
    assert preferences.installation() is None


def test_what_a_failed_set_up_has_downloaded_can_be_removed(chosen, small_bundle, monkeypatch):
    bpy.context.preferences.system.use_online_access = True
    assert not bpy.ops.emo_avatar.remove_backend.poll()
    monkeypatch.setenv("FAKE_BUILD", "full disk")
    with pytest.raises(RuntimeError, match="the disk is full"):
        bpy.ops.emo_avatar.set_up_backend(python=sys.executable, device="cpu")
    assert preferences.installation() is None and (preferences.folder() / "downloads").is_dir()
    assert bpy.ops.emo_avatar.remove_backend() == {"FINISHED"}
    assert list(preferences.folder().iterdir()) == []
    assert not bpy.ops.emo_avatar.remove_backend.poll()


def test_what_a_killed_blender_has_left_goes_at_the_next_start():
    half = preferences.folder() / "backend-7" / "bin"
    half.mkdir(parents=True)
    preferences.unregister()
    preferences.register()
    assert mainloop.drain(lambda: not half.exists() and not (preferences.folder() / "lock").exists(), 60.0)
    preferences.installation_changed()
    assert not preferences.anything_to_remove()
