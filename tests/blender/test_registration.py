"""Enabling and disabling leave Blender exactly as it was, however often."""

import addon_utils
import bpy
from bl_ext.user_default.emo_avatar.emo_avatar_addon import registration

MODULE = "bl_ext.user_default.emo_avatar"


def _types():
    return set(dir(bpy.types)) | {f"ops.{name}" for name in dir(bpy.ops.emo_avatar)}


def _handlers():
    lists = {name: getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)}
    return {name: list(value) for name, value in lists.items() if isinstance(value, list)}


def test_registers_ten_times_exactly():
    registration.unregister()
    try:
        bare = _types(), _handlers()
        for _ in range(10):
            registration.register()
            registration.unregister()
            assert (_types(), _handlers()) == bare
    finally:
        registration.register()
    assert "EMOAVATAR_PT_main" in dir(bpy.types)


def test_failure_of_one_feature_takes_everything_back(monkeypatch):
    registration.unregister()
    try:
        bare = _types(), _handlers()
        monkeypatch.setattr(registration, "FEATURES", (*registration.FEATURES, "no_such_feature"))
        try:
            registration.register()
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError("a feature that does not exist was registered")
        assert (_types(), _handlers()) == bare
    finally:
        monkeypatch.undo()
        registration.register()


def test_is_installed_from_the_zip():
    loaded, enabled = addon_utils.check(MODULE)
    assert loaded and enabled
    assert "extensions" in registration.__file__
