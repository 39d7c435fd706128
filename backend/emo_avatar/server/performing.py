"""Motion in numbers: emotion laid over a driving sequence, and motion files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.motion.flame_npz import MAX_ANGLE, MAX_COEFFICIENT, MAX_FPS
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.motion.read import OPEN_HEAD, read_motion
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.server.arrays import Message, malformed, pack
from emo_avatar.server.avatars import Avatars
from emo_avatar.server.motion_files import unpacked

MAX_FRAMES = 20_000
MIN_FPS = 0.1


def driving_head(avatars: Avatars, name: str) -> HeadData:
    """The head whose space the motion of an avatar is in; the open head is called ``open``."""
    return open_head() if name == OPEN_HEAD else avatars.get(name).avatar.rig.head


def apply_to_drive(message: Message, avatars: Avatars) -> bytes:
    """The answer to a *drive*: the driving motion under its emotions."""
    fps = message.number("fps", MIN_FPS, MAX_FPS)
    weights = message.floats("weights", ("T", len(EMOTIONS)), limit=1.0)
    if weights.min(initial=0.0) < 0:
        raise malformed("Emotion weights lie between 0 and 1")
    _check_frames(len(weights))
    frames = {"expression": message.floats("expression", ("T", 100), limit=MAX_COEFFICIENT)}
    frames["jaw_pose"] = message.floats("jaw_pose", ("T", 3), limit=MAX_ANGLE)
    frames["eyes_pose"] = message.floats_or_zeros("eyes_pose", ("T", 6), limit=MAX_ANGLE)
    head = driving_head(avatars, message.text("avatar"))
    driving = replace(FlameSequence.still(len(weights), fps), **frames)  # type: ignore[arg-type]
    result = apply_emotions(head, driving, weights)
    return pack({"expression": result.expression, "jaw_pose": result.jaw_pose}, {"frames": len(result)})


def read_motion_file(path: Path, avatars: Avatars, avatar: str, fps: float | None) -> bytes:
    """The answer to a motion file: a sequence in the avatar's own space, at ``fps`` when that is given."""
    sequence, notes = read_motion(unpacked(path), driving_head(avatars, avatar))
    source_fps = sequence.fps
    if fps is not None:
        sequence = sequence.resample(fps)
    arrays = {name: getattr(sequence, name) for name in FRAME_FIELDS}
    document = {"fps": sequence.fps, "source_fps": source_fps, "frames": len(sequence), "notes": notes}
    return pack(arrays, document)


def performance_of(message: Message, prefix: str = "") -> FlameSequence:
    """The sequence in a *performance*, in the tensors whose names begin with ``prefix``."""
    fps = message.number("fps", MIN_FPS, MAX_FPS)
    limits = {"expression": MAX_COEFFICIENT}
    frames = {
        name: message.floats(prefix + name, ("T", width), limit=limits.get(name, MAX_ANGLE))
        for name, width in FRAME_FIELDS.items()
    }
    _check_frames(message.lengths["T"])
    if message.lengths["T"] == 0:
        raise malformed("A performance has at least one frame")
    emotions = emotions_of(message, prefix, ("T",))
    return replace(FlameSequence.still(message.lengths["T"], fps), emotions=emotions, **frames)  # type: ignore[arg-type]


def emotions_of(message: Message, prefix: str, leading: tuple[str, ...] = ()) -> np.ndarray:  # [..., 6]
    """The optional weights that colour the skin, zeros where none are given."""
    weights = message.floats_or_zeros(f"{prefix}emotions", (*leading, len(EMOTIONS)), limit=1.0)
    if weights.min(initial=0.0) < 0:
        raise malformed("Emotion weights lie between 0 and 1")
    return weights


def _check_frames(count: int) -> None:
    if count > MAX_FRAMES:
        raise malformed(f"A request may have {MAX_FRAMES} frames at most, not {count}")
