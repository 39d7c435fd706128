"""What tracking would have said of shots, from the known truth, for training on and judging by what use will bring."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from emo_avatar.data.studio import Shot
from emo_avatar.data.subjects import Subject
from emo_avatar.head.arkit import arkit_from_flame
from emo_avatar.head.data import N_SHAPE, open_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.camera import CV_FROM_FLAME, Camera
from emo_avatar.tracking.crop import CROP_SIZE
from emo_avatar.tracking.fit import landmark_error
from emo_avatar.tracking.landmark_model import landmark_embedding, landmark_points
from emo_avatar.tracking.portrait import TrackedPortrait

# A tracker's error on real portraits, standard deviations
SHAPE_ERROR = 0.15  # of the identity's components, where these have about 0.7
EXPRESSION_ERROR = 0.08  # of each component's size in the frame
TURN_ERROR, GAZE_ERROR = np.radians(0.8), np.radians(1.5)
SHIFT_ERROR = 0.0008  # metres across the picture; ten times that in depth
LANDMARK_ERROR = 0.010  # of the distance between the outer corners of the eyes
MATTE_BLUR = 1.2  # pixels


def portrait_of(subject: Subject, shot: Shot, rng: np.random.Generator | None = None) -> TrackedPortrait:
    """The tracked portrait of a square shot.

    Without ``rng`` its parameters are the truth: posed on the open head they give the shot's own vertices, but for the
    neck, which tracking does not know and whose turn is the whole head's. With ``rng`` they have a tracker's error.
    """
    head, frame = open_head(), shot.frame
    rgb = np.asarray(Image.fromarray(np.uint8(shot.rgb * 255 + 0.5)).resize((CROP_SIZE,) * 2, Image.Resampling.BICUBIC))
    matte = Image.fromarray(shot.alpha).resize((CROP_SIZE,) * 2, Image.Resampling.BILINEAR)
    camera = shot.setting.camera.resized(CROP_SIZE)
    expression, jaw, eyes = frame.expression[0], frame.jaw_pose[0], frame.eyes_pose[0]
    shape = subject.person.shape
    # The subject's lids travel as far as its eyes are open, which the open head's do not.
    offset = (subject.head.shapedirs[:, :, N_SHAPE:] - head.shapedirs[:, :, N_SHAPE:]) @ expression
    if rng is not None:
        shape = shape + np.where(shape != 0, rng.normal(0, SHAPE_ERROR, N_SHAPE), 0)
        expression = expression + rng.normal(0, EXPRESSION_ERROR, len(expression)) * np.abs(expression).mean()
        eyes = eyes + rng.normal(0, GAZE_ERROR, 6)
    generic = _generic()
    given = {"shape": shape, "expression": expression, "jaw_pose": jaw, "eyes_pose": eyes, "static_offset": offset}
    tensors = {name: torch.from_numpy(np.asarray(value, np.float32))[None] for name, value in given.items()}
    with torch.no_grad():
        posed = generic(**tensors)
    turn, shift = _skull(subject, frame, camera)
    if rng is not None:
        turn = Rotation.from_rotvec(rng.normal(0, TURN_ERROR, 3)).as_matrix() @ turn
        shift = shift + rng.normal(0, SHIFT_ERROR, 3) * [1, 1, 10]
    # FLAME turns the head about its root joint, which stays where it is.
    root = posed.joints[0, 0].numpy()
    translation = shift + turn @ root - root
    viewmat = np.eye(4, dtype=np.float32)
    viewmat[:3, :3] = CV_FROM_FLAME
    camera = Camera(viewmat, camera.K, CROP_SIZE, CROP_SIZE)
    vertices = (posed.vertices[0].numpy() - root) @ turn.T + root + translation
    fitted = camera.project(landmark_points(head, vertices))[0]
    landmarks, opacity, error = fitted, np.asarray(matte, np.float32), 0.0
    if rng is not None:
        across = np.linalg.norm(fitted[33] - fitted[263])
        landmarks = fitted + rng.normal(0, LANDMARK_ERROR * across, fitted.shape)
        opacity = np.clip(1.3 * ndimage.gaussian_filter(opacity, MATTE_BLUR) - 0.15, 0, 1)
        error = landmark_error(fitted, landmarks, landmark_embedding(head))
    return TrackedPortrait(
        rgb=rgb,
        matte=opacity,
        landmarks=landmarks.astype(np.float32),
        blendshapes=np.clip(arkit_from_flame(head, frame.expression, frame.jaw_pose, frame.eyes_pose)[0], 0, 1),
        camera=camera,
        shape=np.asarray(shape, np.float32),
        expression=np.asarray(expression, np.float32),
        jaw_pose=jaw,
        eyes_pose=np.asarray(eyes, np.float32),
        rotation=Rotation.from_matrix(turn).as_rotvec().astype(np.float32),
        translation=translation.astype(np.float32),
        static_offset=offset.astype(np.float32),
        landmark_error=error,
        notes=(),
    )


def tracked_motion(
    subject: Subject,
    frame: FlameSequence,
    camera: Camera,
    photograph: Shot,
    portrait: TrackedPortrait,
) -> FlameSequence:
    """One frame of the person as the tracker of ``portrait`` would have said it, to drive an avatar made from that.

    A tracker does not know the neck: the whole head turns. And what it errs by in the pose of the ``photograph`` it
    errs by in every frame of the person, as one that fits one head to a whole recording does.
    """
    told = {"shape": portrait.shape, "static_offset": portrait.static_offset}
    with torch.no_grad():
        tensors = {name: torch.from_numpy(np.asarray(value, np.float32))[None] for name, value in told.items()}
        root = _generic()(**tensors).joints[0, 0].numpy()
    turn, shift = _skull(subject, frame, camera)
    turn_then, shift_then = _skull(subject, photograph.frame, photograph.setting.camera)
    said = Rotation.from_rotvec(portrait.rotation).as_matrix()
    said_shift = portrait.translation - said @ root + root
    since = turn @ turn_then.T
    turn, shift = since @ said, shift + since @ (said_shift - shift_then)
    to_camera = CV_FROM_FLAME @ camera.viewmat[:3]
    turn = to_camera[:, :3].T @ turn
    shift = to_camera[:, :3].T @ (shift - to_camera[:, 3])
    return replace(
        frame,
        rotation=Rotation.from_matrix(turn).as_rotvec().astype(np.float32)[None],
        neck_pose=np.zeros((1, 3), np.float32),
        translation=(shift + turn @ root - root).astype(np.float32)[None],
    )


def _skull(subject: Subject, frame: FlameSequence, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where a frame takes the skull, seen from the camera but with FLAME's axes: ``[3, 3]`` turn, ``[3]`` shift."""
    with torch.no_grad():
        names = ("rotation", "neck_pose", "translation", "expression")
        posed = subject.model(**{name: torch.from_numpy(getattr(frame, name)) for name in names})
    framed = posed.joint_transforms[0, 1].numpy()
    to_camera = CV_FROM_FLAME @ camera.viewmat[:3]  # [3, 4]
    return to_camera[:, :3] @ framed[:3, :3], to_camera[:, :3] @ framed[:3, 3] + to_camera[:, 3]


@functools.cache
def _generic() -> HeadModel:
    return HeadModel(open_head())
