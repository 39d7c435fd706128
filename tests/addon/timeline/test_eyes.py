"""Blinks and gaze on the head that the extension ships with."""

from dataclasses import replace

import numpy as np
import pytest
from emo_avatar_addon.model import flame
from emo_avatar_addon.model.arkit import ARKIT_NAMES
from emo_avatar_addon.model.head_file import open_head
from emo_avatar_addon.timeline.eyes import MAX_YAW, Eyes, blinks, close_lids, look_at
from emo_avatar_addon.timeline.motion import Motion, add_arkit
from scipy.spatial.transform import Rotation


@pytest.fixture(scope="module")
def eyes():
    head = open_head()
    joints = flame.kinematics(head)
    return Eyes.of(ARKIT_NAMES, head.arkit_to_expr, head.arkit_to_pose, joints.joints, joints.joint_dirs)


def blinking(frames, rate=0.25, fps=24.0, seed=0):
    return blinks(frames, rate * frames / fps, rate, fps, seed)


def test_blinks_close_fully_and_come_at_about_the_rate():
    amount = blinking(np.arange(0, 24 * 600))
    shut = np.flatnonzero((amount[1:-1] == 1) & (amount[:-2] < 1)) + 1
    assert amount.min() == 0 and amount.max() == 1
    assert 130 < len(shut) < 200  # 150 and some double ones
    assert np.diff(shut).std() > 20  # no metronome
    assert (amount > 0).mean() < 0.15


def test_blinks_depend_on_the_seed_and_not_on_the_range():
    whole, part = np.arange(1, 501), np.arange(200, 301)
    np.testing.assert_array_equal(blinking(part), blinking(whole)[199:300])
    np.testing.assert_array_equal(blinking(whole[249:250]), blinking(whole)[249:250])
    assert not np.array_equal(blinking(whole), blinking(whole, seed=1))
    assert blinking(np.arange(-300, 0)).max() == 1  # before frame 1 too
    assert not blinking(whole, rate=0.0).any()


def test_lids_close_from_wherever_they_are_and_never_past_closed(eyes):
    units = np.zeros((4, 52), np.float32)
    for row, name in enumerate(("eyeWide", "eyeSquint", "eyeBlink", "jawOpen")):
        for side in ("Left", "Right") if name != "jawOpen" else ("",):
            units[row, eyes.unit(name + side)] = 0.8
    motion = add_arkit(Motion.still(4, 24), units, eyes.to_expression, eyes.to_pose)
    closed = close_lids(motion, np.ones(4), eyes)
    found = closed.expression @ eyes.reading
    for side in ("Left", "Right"):
        np.testing.assert_allclose(found[:, eyes.unit("eyeBlink" + side)], 1, atol=1e-3)
        np.testing.assert_allclose(found[:, eyes.unit("eyeWide" + side)], 0, atol=1e-3)
    np.testing.assert_allclose(
        close_lids(motion, np.full(4, 0.5), eyes).expression, (motion.expression + closed.expression) / 2, atol=1e-5
    )
    assert close_lids(motion, np.zeros(4), eyes) is motion


def test_both_eyes_point_at_the_target_under_a_turned_head(eyes):
    rng = np.random.default_rng(1)
    turned = Motion.from_arrays(
        {
            "expression": rng.normal(scale=0.3, size=(20, 100)),
            "rotation": rng.normal(scale=0.3, size=(20, 3)),
            "neck_pose": rng.normal(scale=0.15, size=(20, 3)),
            "translation": rng.normal(scale=0.1, size=(20, 3)),
        },
        24.0,
    )
    head = open_head()
    still = flame.joint_transforms(flame.kinematics(head), turned)
    front = np.array([0.02, 0.03, 1.0])  # in the head's axes
    target = (still[:, 1, :3, :3] @ front[:, None])[..., 0] + still[:, 1, :3, 3]
    looking = look_at(turned, target, np.ones(20), eyes)
    after = flame.joint_transforms(flame.kinematics(head), looking)
    joints = flame.kinematics(head).joints + np.einsum(
        "jcd,td->tjc", flame.kinematics(head).joint_dirs, turned.expression
    )
    for joint in (3, 4):
        place = (after[:, joint, :3, :3] @ joints[:, joint, :, None])[..., 0] + after[:, joint, :3, 3]
        gaze = after[:, joint, :3, 2]
        direction = (target - place) / np.linalg.norm(target - place, axis=1, keepdims=True)
        assert (gaze * direction).sum(1).min() > 0.9999


def test_eyes_stop_where_eyes_stop_and_lids_follow(eyes):
    far = np.array([[10.0, 0.0, 0.1], [0.0, -1.0, 1.0], [0.0, 1.0, 1.0]])
    looking = look_at(Motion.still(3, 24), far, np.ones(3), eyes)
    yaw = Rotation.from_rotvec(looking.eyes_pose[0, :3]).magnitude()
    assert yaw == pytest.approx(MAX_YAW, abs=0.05)
    assert not looking.expression.any()  # on the open head the lids follow by correctives of the eyes' pose


def test_lids_follow_where_they_are_part_of_the_expression(eyes):
    to_expression = eyes.to_expression.copy()
    unit = eyes.unit("eyeLookDownLeft")
    to_expression[unit, 7] = 1.0
    down = np.array([[0.03, 0.02 - np.tan(0.2), 1.0], [0.03, 0.02 + np.tan(0.2), 1.0]]) + eyes.joints[3] * [0, 1, 0]
    looking = look_at(Motion.still(2, 24), down, np.ones(2), replace(eyes, to_expression=to_expression))
    pitch = np.linalg.norm(looking.eyes_pose[0, 0])
    assert looking.expression[0, 7] == pytest.approx(pitch / np.linalg.norm(eyes.to_pose[unit, 3:6]), rel=0.02)
    assert looking.expression[1, 7] == 0


def test_influence_goes_from_own_to_target(eyes):
    own = Motion.from_arrays({"expression": np.zeros((2, 100)), "eyes_pose": np.full((2, 6), 0.1)}, 24)
    target = np.array([[0.3, 0.1, 1.0]] * 2)
    assert look_at(own, target, np.zeros(2), eyes) is own
    half, full = look_at(own, target, np.full(2, 0.5), eyes), look_at(own, target, np.ones(2), eyes)
    middle = Rotation.from_rotvec([own.eyes_pose[0, :3], full.eyes_pose[0, :3]]).mean()
    np.testing.assert_allclose(half.eyes_pose[0, :3], middle.as_rotvec(), atol=1e-5)
