"""What an avatar plays: driving motion, emotion timeline and held emotions, made into one FLAME sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS, EmotionTimeline, emotion_weights

DEFAULT_FPS = 30.0


def perform(
    avatar: Avatar,
    motion: FlameSequence | None = None,
    timeline: EmotionTimeline | None = None,
    emotions: Mapping[str, float] | None = None,
    frames: int | None = None,
    geometry: bool = True,
    appearance: bool = True,
) -> FlameSequence:
    """The sequence that ``avatar`` plays, in the FLAME space of its own head.

    The timeline sets the frame rate and the length, or else the motion does, or else it is one frame; ``frames``
    overrides the length. A motion that is shorter than that is repeated from its beginning, and a timeline holds its
    last values. ``emotions`` (name to weight, 0 to 1) are held throughout, in place of what the timeline says of them.
    Emotion takes two paths, either of which can be left out: it moves the face (``geometry``) and it colours the skin
    (``appearance``).
    """
    fps = timeline.fps if timeline else motion.fps if motion else DEFAULT_FPS
    if frames is None:
        frames = len(timeline) if timeline else len(motion) if motion else 1
    driving = motion.resample(fps).looped(frames) if motion else FlameSequence.still(frames, fps)
    driving = replace(driving, head=avatar.rig.head.name)
    weights = _weights(timeline, emotions or {}, frames)
    moved = apply_emotions(avatar.rig.head, driving, weights) if geometry else driving
    return replace(moved, emotions=weights if appearance else None)


def _weights(timeline: EmotionTimeline | None, held: Mapping[str, float], frames: int) -> np.ndarray:  # [T, 6]
    if timeline:
        weights = timeline.sample(timeline.frame_start + np.arange(frames))
    else:
        weights = np.zeros((frames, len(EMOTIONS)), np.float32)
    constant = emotion_weights(held)  # [6]
    columns = [EMOTIONS.index(name) for name in held if name in EMOTIONS]
    weights[:, columns] = constant[columns]
    return weights
