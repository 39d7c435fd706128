"""Sampled values are what Blender itself shows, by the fast way and by stepping."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import curves, sampling

CHANNELS = [('["happy"]', 0), ('["count"]', 0), ('["free"]', 0), ("location", 2), ("hide_render", 0), ("pass_index", 0)]
FRAMES = np.arange(1, 61)


@pytest.fixture
def thing(scene):
    thing = bpy.data.objects.new("Thing", None)
    scene.collection.objects.link(thing)
    thing["happy"], thing["count"], thing["free"] = 0.25, 3, 7.5
    thing.id_properties_ui("happy").update(min=0.0, max=1.0)
    for frame, value in ((1, 0.0), (13, 1.0), (20, 0.4), (44, 0.9)):
        thing["happy"] = value
        thing.keyframe_insert('["happy"]', frame=frame)
    for frame, value in ((5, 0), (50, 9)):
        thing["count"] = value
        thing.keyframe_insert('["count"]', frame=frame)
    thing.location.z = 0
    thing.keyframe_insert("location", index=2, frame=1)
    thing.location.z = 3
    thing.keyframe_insert("location", index=2, frame=60)
    for frame, value in ((1, False), (30, True)):
        thing.hide_render = value
        thing.keyframe_insert("hide_render", frame=frame)
    curves.channels(thing).find('["happy"]').keyframe_points[1].co.y = 1.4  # beyond what the property may be
    return thing


def _shown(scene, thing, channels, frames):
    """What the artist's own scene shows at these frames."""
    rows = []
    for frame in frames:
        scene.frame_set(int(np.floor(frame)), subframe=float(frame % 1))
        rows.append(
            [
                float(np.ravel(thing.path_resolve(path))[min(index, np.size(thing.path_resolve(path)) - 1)])
                for path, index in channels
            ]
        )
    return np.array(rows)


def _both_ways(scene, thing, channels, frames, monkeypatch):
    fast = sampling.sample(scene, thing, channels, frames)
    monkeypatch.setattr(sampling, "_is_plain", lambda *_: False)
    stepped = sampling.sample(scene, thing, channels, frames)
    monkeypatch.undo()
    return fast, stepped


@pytest.mark.parametrize("frames", [FRAMES, FRAMES[:20] + 0.25], ids=["frames", "subframes"])
def test_plain_curves_equal_stepping_and_the_scene(scene, thing, frames, monkeypatch):
    fast, stepped = _both_ways(scene, thing, CHANNELS, frames, monkeypatch)
    shown = _shown(scene, thing, CHANNELS, frames)
    assert np.ptp(shown[:, 0]) > 0.3 and shown[:, 0].max() <= 1.0
    np.testing.assert_allclose(fast, shown, atol=1e-5)
    np.testing.assert_allclose(stepped, shown, atol=1e-5)


def test_muted_curves_and_groups_do_not_count(scene, thing, monkeypatch):
    bag = curves.channels(thing)
    bag.find('["happy"]').mute = True
    fast, stepped = _both_ways(scene, thing, CHANNELS, FRAMES, monkeypatch)
    assert np.ptp(fast[:, 0]) == 0 and np.ptp(fast[:, 3]) > 1
    np.testing.assert_allclose(fast, stepped, atol=1e-5)
    height = bag.find("location", 2)
    height.group = bag.groups.new("Muted")
    height.group.mute = True
    values = sampling.sample(scene, thing, CHANNELS, FRAMES)
    np.testing.assert_allclose(values, _shown(scene, thing, CHANNELS, FRAMES), atol=1e-5)


def test_modifiers_and_easings_are_kept(scene, thing, monkeypatch):
    happy = curves.channels(thing).find('["happy"]')
    happy.keyframe_points[0].interpolation = "ELASTIC"
    happy.keyframe_points[2].interpolation = "BOUNCE"
    happy.modifiers.new("CYCLES")
    frames = np.arange(-20, 120)
    fast, stepped = _both_ways(scene, thing, CHANNELS, frames, monkeypatch)
    np.testing.assert_allclose(fast, stepped, atol=1e-5)


def test_time_remapping_is_kept(scene, thing, monkeypatch):
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 250
    fast, stepped = _both_ways(scene, thing, CHANNELS, FRAMES, monkeypatch)
    np.testing.assert_allclose(fast, stepped, atol=1e-5)


def test_drivers_are_stepped(scene, thing):
    driver = thing.driver_add('["free"]').driver
    driver.type = "SCRIPTED"
    driver.expression = "frame * 2 + h"
    variable = driver.variables.new()
    variable.name = "h"
    variable.targets[0].id, variable.targets[0].data_path = thing, '["happy"]'
    values = sampling.sample(scene, thing, CHANNELS, FRAMES)
    assert sampling.is_animated(thing, [('["free"]', 0)])
    np.testing.assert_allclose(values[:, 2], FRAMES * 2 + values[:, 0], atol=1e-4)
    assert np.ptp(values[:, 0]) > 0.3


def test_nla_is_stepped(scene, thing):
    plain = sampling.sample(scene, thing, CHANNELS, FRAMES)
    animation = thing.animation_data
    action = animation.action
    slot = animation.action_slot if curves.SLOTS else None
    animation.action = None
    strip = animation.nla_tracks.new().strips.new("S", 11, action)
    if curves.SLOTS:
        strip.action_slot = slot
    values = sampling.sample(scene, thing, CHANNELS, FRAMES + 10)
    np.testing.assert_allclose(values[:, 0], plain[:, 0], atol=1e-5)
    np.testing.assert_allclose(values, _shown(scene, thing, CHANNELS, FRAMES + 10), atol=1e-5)


def test_stepping_leaves_no_trace(scene, thing, monkeypatch):
    scene.frame_set(7)
    thing["free"] = 99.0
    thing["happy"] = 0.777  # dragged, not keyed
    heard = []
    bpy.app.handlers.frame_change_post.append(lambda *_: heard.append("frame"))
    bpy.app.handlers.depsgraph_update_post.append(lambda *_: heard.append("update"))
    before = {name: len(getattr(bpy.data, name)) for name in ("scenes", "collections", "objects", "actions", "worlds")}
    _both_ways(scene, thing, CHANNELS, FRAMES, monkeypatch)
    after = {name: len(getattr(bpy.data, name)) for name in before}
    assert "frame" not in heard and before == after
    bpy.context.view_layer.update()
    assert scene.frame_current == 7 and thing["happy"] == 0.777 and thing["free"] == 99.0
    assert bpy.context.scene == scene and list(thing.users_scene) == [scene]
    assert len(bpy.app.handlers.frame_change_post) >= 1 and len(bpy.app.handlers.depsgraph_update_post) >= 1


def test_world_matrices_follow_parents_and_constraints(scene, thing):
    still = bpy.data.objects.new("Still", None)
    still.location = (1, 2, 3)
    follower = bpy.data.objects.new("Follower", None)
    scene.collection.objects.link(still)
    scene.collection.objects.link(follower)
    follower.parent = thing
    follower.constraints.new("COPY_LOCATION").target = still
    bpy.context.view_layer.update()
    matrices = sampling.world_matrices(scene, [still, follower, thing], FRAMES)
    np.testing.assert_allclose(matrices[:, 0, :3, 3], np.tile([1, 2, 3], (60, 1)))
    np.testing.assert_allclose(matrices[:, 1, :3, 3], matrices[:, 0, :3, 3], atol=1e-6)
    np.testing.assert_allclose(matrices[[0, -1], 2, 2, 3], [0, 3], atol=1e-6)
    np.testing.assert_array_equal(sampling.world_matrices(scene, [still], FRAMES)[0, 0], np.array(still.matrix_world))


def test_seventy_plain_curves_are_evaluated_without_stepping(scene, monkeypatch):
    thing = bpy.data.objects.new("Many", None)
    channels = []
    for i in range(70):
        thing[f"p{i}"] = 0.0
        channels.append((f'["p{i}"]', 0))
    bag = curves.ensure_channels(thing, "Many")
    for path, _ in channels:
        curves.fill(bag.new(path), np.array([1, 40, 90, 250]), np.array([0, 1, 0.3, 0.5]), curves.BEZIER)
    monkeypatch.setattr(sampling, "_step", lambda *_: pytest.fail("stepping takes a hundred times as long"))
    values = sampling.sample(scene, thing, channels, np.arange(1, 251))
    assert values.shape == (250, 70) and np.ptp(values[:, 69]) > 0.9
