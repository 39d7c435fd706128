"""Avatars for tests, and what they show."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import client as link
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import session
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import head_file, head_object, properties
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import evaluation, playing


@pytest.fixture
def make_avatar(scene):
    """Adds open heads: as the operator does, but for its reports."""

    def make(name):
        rig = head_object.create(bpy.context, head_file.open_head(), name, None)
        rig.emo_avatar.kind = "open"
        properties.add_arkit(rig)
        evaluation.mark(rig)
        return rig

    return make


@pytest.fixture
def avatar(make_avatar):
    return make_avatar("Ann")


@pytest.fixture
def asked(monkeypatch):
    """The lengths of what the backend is asked."""
    lengths = []
    emotions = link.Client.emotions

    def counted(self, arrays, *rest):
        lengths.append(len(arrays["weights"]))
        return emotions(self, arrays, *rest)

    monkeypatch.setattr(link.Client, "emotions", counted)
    return lengths


@pytest.fixture
def no_backend(monkeypatch):
    """Nobody to ask, whatever runs for other tests."""
    empty = session.Session()
    empty.listeners.extend(session.current().listeners)
    monkeypatch.setattr(session, "_current", empty)
    yield
    empty.stop(timeout=60.0)


def key(avatar, name, *points):
    """Key a setting at (frame, value) points."""
    for frame, value in points:
        setattr(avatar.emo_avatar, name, value)
        avatar.keyframe_insert(f"emo_avatar.{name}", frame=frame)


def settle():
    """As the timer of a window would."""
    bpy.context.view_layer.update()  # so that Blender tells of what has changed
    assert evaluation.settle(60), [entry.trouble for entry in playing.entries.values()]


def expression(avatar):  # [100] what the shape keys show
    blocks = avatar.emo_avatar.head.data.shape_keys.key_blocks
    return np.array([blocks[f"expr_{i:03d}"].value for i in range(100)])


def vertices(avatar):  # [V, 3] as Blender evaluates the mesh, world axes
    mesh = avatar.emo_avatar.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)
