"""From an avatar in Blender to its `Drive`: keyed settings, sampled, and the motion that drives it. Main thread."""

from __future__ import annotations

import bpy
import numpy as np

from .. import safetensors
from ..model import storage
from ..model.arkit import ARKIT_NAMES
from ..model.head_object import from_blender
from ..model.properties import EMOTIONS
from ..translations import sentence
from . import motion as tracks
from . import sampling
from .drive import Drive, Rig
from .eyes import Eyes, blinks
from .motion import Motion

SETTINGS = (
    *EMOTIONS,
    "strength",
    "blink",
    "blink_auto",
    "blink_seed",
    "blink_rate",
    "gaze_influence",
    "motion_influence",
    "motion_offset",
    "motion_speed",
    "motion_loop",
    "motion_head",
    "motion_eyes",
)
FIRST_FRAME = 1.0  # where motion begins and blinks are counted from, when nothing is set

_HUGE = 1e6  # stands for what is infinite
_FURTHEST = 1e6  # metres to a gaze target
_FLAT = 1e-9  # volume of an avatar's axes, over that of a box with the same sides, below which it has none


def path(setting: str) -> str:
    """The data path of a setting from the avatar's object."""
    return f"emo_avatar.{setting}"


def drive(scene: bpy.types.Scene, avatar: bpy.types.Object, frames: np.ndarray, live: int | None = None) -> Drive:
    """What `avatar` is asked to do at `frames [T]`, consecutive whole frames of `scene`.

    At row `live`, if given, its settings are taken as they are set now, keyed or not.
    Raises AddonError when what the file keeps beside the avatar is damaged.
    """
    rig = rig_of(avatar)
    stretch = sampling.time_stretch(scene)
    fps = _rate(scene)
    channels = [(path(name), 0) for name in SETTINGS]
    arkit = [(f'["{name}"]', 0) for name in ARKIT_NAMES if name in avatar]
    values = sampling.sample(scene, avatar, channels + arkit, frames)
    if live is not None:
        values[live] = sampling.current(avatar, channels + arkit)
    values = np.nan_to_num(values, nan=0.0, posinf=_HUGE, neginf=-_HUGE)  # a script may have set anything
    of = dict(zip(SETTINGS, values.T, strict=False))

    def passed(rate: np.ndarray, setting: str, origin: np.ndarray | float) -> np.ndarray:
        def sampled(at: np.ndarray) -> np.ndarray:
            return sampling.sample(scene, avatar, [(path(setting), 0)], at)[:, 0]

        changes = sampling.is_animated(avatar, [(path(setting), 0)])
        return tracks.passed(frames, rate, fps, origin, sampled if changes else None)

    settings = tracks.TrackSettings(
        phase=passed(of["motion_speed"], "motion_speed", (FIRST_FRAME + of["motion_offset"]) / stretch),
        influence=of["motion_influence"],
        head=of["motion_head"],
        eyes=of["motion_eyes"],
        loop=of["motion_loop"],
    )
    motion = tracks.play(motion_of(avatar), settings, fps)
    units = np.zeros((len(frames), len(ARKIT_NAMES)), np.float32)
    units[:, [i for i, name in enumerate(ARKIT_NAMES) if name in avatar]] = np.clip(values[:, len(SETTINGS) :], 0, 1)
    emotions = values[:, : len(EMOTIONS)] * of["strength"][:, None]
    target, gaze = _target(scene, avatar, of["gaze_influence"], frames)
    return Drive(
        rig=rig,
        start=int(frames[0]),
        weights=np.clip(emotions, 0, 1).astype(np.float32),
        motion=tracks.add_arkit(motion, units, rig.eyes.to_expression, rig.eyes.to_pose),
        blink=_blink(of, passed(of["blink_rate"] / 60, "blink_rate", FIRST_FRAME / stretch), frames, fps),
        gaze=gaze,
        target=target,
    )


_rigs: dict[int, tuple[tuple[str, bytes], Rig]] = {}
_motions: dict[int, tuple[bytes, Motion]] = {}


def rig_of(avatar: bpy.types.Object) -> Rig:
    """The avatar's rig, read anew only when the file's bytes have changed."""
    kept = storage.rig_message(avatar)
    name = "open" if avatar.emo_avatar.kind == "open" else avatar.emo_avatar.avatar_id
    known = _rigs.get(avatar.session_uid)
    if known is not None and known[0] == (name, kept):
        return known[1]
    rig = storage.read_rig(avatar)
    joints = rig.kinematics
    eyes = Eyes.of(ARKIT_NAMES, rig.arkit_to_expr, rig.arkit_to_pose, joints.joints, joints.joint_dirs)
    _rigs[avatar.session_uid] = (name, kept), Rig(name, joints, eyes)
    return _rigs[avatar.session_uid][1]


def motion_of(avatar: bpy.types.Object) -> Motion | None:
    """The avatar's motion track at its own rate."""
    message = storage.read_motion(avatar)
    if not message:
        _motions.pop(avatar.session_uid, None)
        return None
    known = _motions.get(avatar.session_uid)
    if known is None or known[0] != message:
        arrays, document = safetensors.unpack(message)
        known = _motions[avatar.session_uid] = message, Motion.from_arrays(arrays, document["fps"])
    return known[1]


def forget() -> None:
    """Another file was opened."""
    _rigs.clear()
    _motions.clear()


def _rate(scene: bpy.types.Scene) -> float:
    """Frames of the scene in a second of what is keyed."""
    return scene.render.fps / scene.render.fps_base / sampling.time_stretch(scene)


def _blink(of: dict[str, np.ndarray], beats: np.ndarray, frames: np.ndarray, fps: float) -> np.ndarray:
    amount = of["blink"].copy()
    if of["blink_auto"].any():
        rate = float(of["blink_rate"].mean()) / 60
        for seed in np.unique(of["blink_seed"]).astype(int):
            wanted = (of["blink_auto"] > 0.5) & (of["blink_seed"] == seed)
            automatic = blinks(frames, beats, rate, fps, int(seed))
            amount = np.where(wanted, np.maximum(amount, automatic), amount)
    return amount.astype(np.float32)


def _target(
    scene: bpy.types.Scene, avatar: bpy.types.Object, influence: np.ndarray, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # [T, 3] FLAME axes of the avatar, [T]
    aim = avatar.emo_avatar.gaze_target
    if aim is None or not influence.any():
        return np.zeros((len(frames), 3), np.float32), np.zeros(len(frames), np.float32)
    matrices = sampling.world_matrices(scene, [avatar, aim], frames)
    axes = matrices[:, 0, :3, :3]
    flat = np.abs(np.linalg.det(axes)) <= _FLAT * np.linalg.norm(axes, axis=1).prod(axis=1)  # [T] scaled to nothing
    matrices[flat, 0] = np.eye(4)
    local = np.linalg.solve(matrices[:, 0], matrices[:, 1, :, 3:])[:, :3, 0]  # [T, 3]
    local = np.clip(np.nan_to_num(local), -_FURTHEST, _FURTHEST)
    return from_blender(local).astype(np.float32), np.where(flat, 0, influence).astype(np.float32)


def motion_sentence(scene: bpy.types.Scene, avatar: bpy.types.Object) -> str:
    """What the motion track is and how it is fitted into the scene; cheap enough for a panel."""
    known = _motions.get(avatar.session_uid)
    motion = known[1] if known is not None else motion_of(avatar)
    if motion is None:
        return sentence("No motion track")
    fps = _rate(scene)
    count, rate = len(motion), f"{motion.fps:.4g}"
    if abs(motion.fps - fps) < 1e-3:
        return sentence("{count} frames at {fps} fps, as the scene", count=count, fps=rate)
    template = "{count} frames at {fps} fps, resampled to the scene's {other}"
    return sentence(template, count=count, fps=rate, other=f"{fps:.4g}")


def motion_end(scene: bpy.types.Scene, avatar: bpy.types.Object) -> int:
    """The scene frame on which the motion track ends, at its offset and speed as they are now."""
    motion, settings = motion_of(avatar), avatar.emo_avatar
    if motion is None:
        return scene.frame_end
    seconds = (len(motion) - 1) / motion.fps / settings.motion_speed
    begin = (FIRST_FRAME + settings.motion_offset) / sampling.time_stretch(scene)
    return int(np.ceil(begin + seconds * _rate(scene)))
