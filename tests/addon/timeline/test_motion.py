"""Motion tracks between frame rates."""

import numpy as np
import pytest
from emo_avatar_addon.timeline.motion import Motion, TrackSettings, add_arkit, passed, play
from scipy.spatial.transform import Rotation


@pytest.fixture
def motion():
    rng = np.random.default_rng(3)
    arrays = {name: rng.normal(scale=0.3, size=values.shape) for name, values in Motion.still(20, 60).arrays().items()}
    return Motion.from_arrays(arrays, 60.0)


def settings(phase, **changes):
    ones = np.ones(len(phase))
    return TrackSettings(**{"phase": phase, "influence": ones, "head": ones, "eyes": ones, "loop": 0 * ones, **changes})


def test_whole_frames_are_exact(motion):
    played = play(motion, settings(np.arange(10) / 30), 30.0)
    for name, values in motion.arrays().items():
        np.testing.assert_allclose(getattr(played, name), values[::2], atol=1e-6)
    assert played.fps == 30.0


def test_between_frames_rotations_take_the_shortest_arc(motion):
    played = play(motion, settings(np.array([4.25]) / 60), 24.0)
    a, b = (Rotation.from_rotvec(motion.neck_pose[i]) for i in (4, 5))
    expected = a * Rotation.from_rotvec((a.inv() * b).as_rotvec() * 0.25)
    np.testing.assert_allclose(played.neck_pose[0], expected.as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(
        played.expression[0], 0.75 * motion.expression[4] + 0.25 * motion.expression[5], atol=1e-6
    )


def test_held_or_looped_outside(motion):
    phase = np.array([-1.0, 0.0, 19.5 / 60, 20 / 60, 5.0])
    held = play(motion, settings(phase), 24.0)
    np.testing.assert_array_equal(held.expression[[0, 2, 3, 4]], motion.expression[[0, 19, 19, 19]])
    looped = play(motion, settings(phase, loop=np.ones(5)), 24.0)
    np.testing.assert_allclose(looped.expression[[1, 3, 4]], motion.expression[[0, 0, 0]], atol=1e-4)
    np.testing.assert_allclose(looped.expression[2], (motion.expression[19] + motion.expression[0]) / 2, atol=1e-4)


def test_loop_may_be_keyed(motion):
    looped = play(motion, settings(np.array([25 / 60, 25 / 60]), loop=np.array([0.0, 1.0])), 24.0)
    np.testing.assert_allclose(looped.expression, motion.expression[[19, 5]], atol=1e-5)


def test_influence_head_and_eyes(motion):
    half = np.full(3, 0.5)
    played = play(motion, settings(np.arange(3) / 60, influence=half, head=np.zeros(3)), 60.0)
    np.testing.assert_allclose(played.expression, motion.expression[:3] / 2, atol=1e-6)
    np.testing.assert_allclose(played.eyes_pose, motion.eyes_pose[:3] / 2, atol=1e-6)
    assert not (played.neck_pose.any() or played.rotation.any() or played.translation.any())


def test_nothing_to_play_is_rest(motion):
    assert not play(None, settings(np.arange(4)), 24.0).expression.any()
    assert not play(motion, settings(np.arange(4), influence=np.zeros(4)), 24.0).jaw_pose.any()


def test_arkit_is_added():
    rng = np.random.default_rng(4)
    to_expr, to_pose, weights = rng.normal(size=(52, 100)), rng.normal(size=(52, 9)), rng.random((3, 52))
    base = Motion.from_arrays({"expression": rng.normal(size=(3, 100)), "jaw_pose": rng.normal(size=(3, 3))}, 24)
    added = add_arkit(base, weights, to_expr, to_pose)
    np.testing.assert_allclose(added.expression - base.expression, weights @ to_expr, atol=1e-4)
    np.testing.assert_allclose(added.jaw_pose - base.jaw_pose, (weights @ to_pose)[:, :3], atol=1e-4)
    np.testing.assert_allclose(added.eyes_pose, (weights @ to_pose)[:, 3:], atol=1e-4)


def test_passed_is_an_integral_that_no_range_changes():
    def rate(frames):
        return 1 + np.sin(frames / 7)

    whole, part = np.arange(1, 101), np.arange(60, 80)
    all_passed = passed(whole, rate(whole), 25.0, 1.0, rate)
    np.testing.assert_allclose(passed(part, rate(part), 25.0, 1.0, rate), all_passed[59:79], atol=1e-9)
    assert all_passed[0] == 0 and all_passed[-1] == pytest.approx(
        (99 - 7 * (np.cos(100 / 7) - np.cos(1 / 7))) / 25, rel=1e-3
    )
    constant = passed(whole, np.full(100, 2.0), 25.0, 11.0)
    np.testing.assert_allclose(constant, passed(whole, np.full(100, 2.0), 25.0, 11.0, lambda f: np.full(len(f), 2.0)))


@pytest.mark.parametrize(
    ("arrays", "fps"),
    [
        ({"expression": np.zeros((3, 99))}, 30),
        ({"expression": np.zeros((3, 100)), "jaw_pose": np.zeros((2, 3))}, 30),
        ({"expression": np.full((3, 100), np.nan)}, 30),
        ({"expression": np.zeros((3, 100))}, 0),
        ({"expression": np.zeros((3, 100))}, np.inf),
    ],
)
def test_what_is_no_motion_is_refused(arrays, fps):
    with pytest.raises(ValueError):
        Motion.from_arrays(arrays, fps)
