"""Evaluated ranges: between frames, beyond them, and in the file."""

from dataclasses import replace

import numpy as np
import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.model import flame
from emo_avatar_addon.model.arkit import ARKIT_NAMES
from emo_avatar_addon.model.head_file import open_head
from emo_avatar_addon.timeline import track
from emo_avatar_addon.timeline.drive import Drive, Rig
from emo_avatar_addon.timeline.eyes import Eyes
from emo_avatar_addon.timeline.motion import Motion
from emo_avatar_addon.timeline.track import Track
from scipy.spatial.transform import Rotation, Slerp


@pytest.fixture(scope="module")
def rig():
    head = open_head()
    joints = flame.kinematics(head)
    eyes = Eyes.of(ARKIT_NAMES, head.arkit_to_expr, head.arkit_to_pose, joints.joints, joints.joint_dirs)
    return Rig("open", joints, eyes)


@pytest.fixture
def drive(rig):
    rng = np.random.default_rng(7)
    arrays = {name: rng.normal(scale=0.2, size=values.shape) for name, values in Motion.still(12, 24).arrays().items()}
    motion = Motion.from_arrays(arrays | {"rotation": np.zeros((12, 3)), "translation": np.zeros((12, 3))}, 24.0)
    return Drive(
        rig, 10, np.zeros((12, 6), np.float32), motion, *np.zeros((2, 12), np.float32), np.zeros((12, 3), np.float32)
    )


def test_whole_frames_are_rows_and_beyond_the_ends_are_held(drive):
    seen = track.finish(drive, drive.motion)
    assert (seen.start, seen.end, len(seen)) == (10, 21, 12)
    assert [seen.values(frame)[1] for frame in (10, 15, 21, 2, 99)] == [0, 5, 11, 0, 11]
    assert 9.5 not in seen and 10 in seen and 21.5 in seen and 22 not in seen


def test_between_frames_everything_is_between(drive):
    seen = track.finish(drive, drive.motion)
    values, row = seen.values(14.25)
    np.testing.assert_allclose(
        values.shape_keys[row], 0.75 * seen.rig.shape_keys[4] + 0.25 * seen.rig.shape_keys[5], atol=1e-6
    )
    np.testing.assert_array_equal(values.moves, seen.rig.moves)
    jaw = Rotation.from_quat(np.roll(seen.rig.quaternions[4:6, 2], -1, axis=1))
    expected = Slerp([0, 1], jaw)(0.25)
    assert (Rotation.from_quat(np.roll(values.quaternions[row, 2], -1)) * expected.inv()).magnitude() < 2e-3


def test_what_is_stored_plays_the_same(drive):
    seen = track.finish(drive, drive.motion)
    again = Track.unpack(seen.pack(), drive.rig)
    assert (again.start, again.drive.digest, again.drive.question) == (10, drive.digest, drive.question)
    np.testing.assert_array_equal(again.rig.shape_keys, seen.rig.shape_keys)
    np.testing.assert_array_equal(again.rig.quaternions, seen.rig.quaternions)


@pytest.mark.parametrize("damage", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"nonsense" * 9])
def test_damage_is_said(drive, damage):
    with pytest.raises(AddonError):
        Track.unpack(damage, drive.rig)


def test_what_never_changes_is_stored_once(drive):
    still = Drive(drive.rig, 1, np.zeros((500, 6)), Motion.still(500, 24), *np.zeros((2, 500)), np.zeros((500, 3)))
    message = track.finish(still, still.motion).pack()
    assert len(message) < 5000
    assert len(Track.unpack(message, drive.rig)) == 500


def test_answers_that_do_not_fit_are_refused(drive):
    with pytest.raises(AddonError, match="length"):
        track.answered(drive, np.zeros((11, 100)), np.zeros((12, 3)))
    with pytest.raises(AddonError, match="finite"):
        track.answered(drive, np.full((12, 100), np.inf), np.zeros((12, 3)))


def test_digests_tell_what_matters_to_whom(drive):
    blinking = replace(drive, blink=np.ones(12))
    happy = replace(drive, weights=np.ones((12, 6), np.float32))
    assert blinking.question == drive.question and blinking.digest != drive.digest
    assert happy.question != drive.question and happy.digest != drive.digest
    unseen = replace(drive, target=np.ones((12, 3), np.float32))  # nobody looks at it
    assert unseen.digest == drive.digest
    assert drive.similar(replace(drive, weights=drive.weights + 1e-7)) and not drive.similar(happy)
    moved = replace(
        drive.rig, kinematics=flame.Kinematics(drive.rig.kinematics.joints + 1e-3, drive.rig.kinematics.joint_dirs)
    )
    assert not drive.similar(replace(drive, rig=moved))
    assert not drive.similar(replace(drive, start=11)) and not drive.similar(drive.rows(0, 5))


def test_rows_are_a_part(drive):
    part = drive.rows(-3, 4)
    assert (part.start, len(part)) == (10, 4)
    part = drive.rows(9, 99)
    assert (part.start, len(part), len(part.motion)) == (19, 3, 3)
