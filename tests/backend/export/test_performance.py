import numpy as np
import pytest

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.errors import UserError
from emo_avatar.export.performance import perform
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS, EmotionTimeline


def timeline(fps: float = 25.0) -> EmotionTimeline:
    keys = {"happy": [{"frame": 10, "value": 0.0}, {"frame": 14, "value": 1.0}]}
    return EmotionTimeline.from_json({"version": 1, "fps": fps, "frame_start": 10, "frame_end": 14, "emotions": keys})


def nodding(frames: int, fps: float = 25.0) -> FlameSequence:
    still = FlameSequence.still(frames, fps)
    neck = np.zeros((frames, 3))
    neck[:, 0] = np.linspace(0, 0.2, frames)
    return FlameSequence(**{**vars(still), "neck_pose": neck})


def test_nothing_is_one_neutral_frame(painted_avatar: Avatar) -> None:
    sequence = perform(painted_avatar)
    assert len(sequence) == 1 and sequence.fps == 30
    np.testing.assert_allclose(sequence.expression, 0, atol=1e-5)


def test_the_timeline_sets_rate_and_length(painted_avatar: Avatar) -> None:
    sequence = perform(painted_avatar, nodding(3, fps=50), timeline())
    assert len(sequence) == 5 and sequence.fps == 25
    head = painted_avatar.rig.head
    driving = nodding(3, fps=50).resample(25).looped(5)
    weights = np.zeros((5, len(EMOTIONS)), np.float32)
    weights[:, EMOTIONS.index("happy")] = [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(sequence.expression, apply_emotions(head, driving, weights).expression, atol=1e-5)
    np.testing.assert_allclose(sequence.neck_pose[2], sequence.neck_pose[0], atol=1e-5)  # repeated


def test_the_motion_sets_them_without_a_timeline(painted_avatar: Avatar) -> None:
    sequence = perform(painted_avatar, nodding(7, fps=60))
    assert len(sequence) == 7 and sequence.fps == 60


def test_frames_overrides_the_length_and_the_timeline_holds_its_last_value(painted_avatar: Avatar) -> None:
    sequence = perform(painted_avatar, timeline=timeline(), frames=8)
    held = perform(painted_avatar, emotions={"happy": 1.0}, frames=8)
    assert len(sequence) == 8
    assert np.linalg.norm(sequence.expression[-1]) == pytest.approx(np.linalg.norm(held.expression[-1]), rel=0.05)


def test_a_held_emotion_replaces_its_own_curve_only(painted_avatar: Avatar) -> None:
    both = perform(painted_avatar, timeline=timeline(), emotions={"happy": 0.0, "sad": 1.0})
    sad = perform(painted_avatar, emotions={"sad": 1.0}, frames=5)
    np.testing.assert_allclose(both.expression, sad.expression, atol=1e-4)


def test_unknown_and_excessive_emotions_are_refused(painted_avatar: Avatar) -> None:
    with pytest.raises(UserError, match="joy"):
        perform(painted_avatar, emotions={"joy": 1.0})
    with pytest.raises(UserError, match="happy"):
        perform(painted_avatar, emotions={"happy": 1.5})
