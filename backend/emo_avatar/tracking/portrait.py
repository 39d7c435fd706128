"""One photograph in, one tracked head out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.head.model import head_model
from emo_avatar.render.camera import CV_FROM_FLAME, Camera
from emo_avatar.tracking.checks import border_notes, check_error, doubt_notes, found, hair_notes, pose_notes
from emo_avatar.tracking.crop import CROP_SIZE, PortraitCrop, crop_portrait
from emo_avatar.tracking.fit import HeadFit, fit_head, landmark_error
from emo_avatar.tracking.images import ImageSource, read_photo
from emo_avatar.tracking.landmark_model import LandmarkModel, landmark_embedding, landmark_points
from emo_avatar.tracking.landmarks import FaceLandmarks, refine_face
from emo_avatar.tracking.matte import cleaned_matte, coarse_matte, fine_matte
from emo_avatar.tracking.warp import residual_offset

HEAD_PARAMETERS = ("shape", "expression", "jaw_pose", "eyes_pose", "rotation", "translation", "static_offset")


@dataclass(frozen=True)
class TrackedPortrait:
    """A photograph and the head that explains it.

    Posing the head with the parameters and looking at it through ``camera`` puts it over the person in ``rgb``. World
    space is the camera's own place with FLAME's axes (x right, y up, z towards the viewer), so ``rotation`` and
    ``translation`` hold the pose of the head and the camera's ``viewmat`` only flips y and z.
    """

    rgb: np.ndarray  # [512, 512, 3] uint8, crop of the photo
    matte: np.ndarray  # [512, 512] float32, opacity of the person
    landmarks: np.ndarray  # [478, 2] float32, px in the crop
    blendshapes: np.ndarray  # [52] float32, the detector's scores in ARKIT_NAMES order
    camera: Camera
    shape: np.ndarray  # [300] float32
    expression: np.ndarray  # [100] float32
    jaw_pose: np.ndarray  # [3] float32 axis-angle
    eyes_pose: np.ndarray  # [6] float32 axis-angle, left and right
    rotation: np.ndarray  # [3] float32 axis-angle of the whole head about its root joint
    translation: np.ndarray  # [3] float32 metres
    static_offset: np.ndarray  # [V, 3] float32 metres, what shape and expression could not reach
    landmark_error: float  # median over the inner face, fraction of the distance between the outer eye corners
    notes: tuple[str, ...]  # what was chosen or may surprise, in sentences

    def vertices(self, head: HeadData) -> np.ndarray:  # [V, 3] metres, world
        """The head as it was fitted, which must be the one that was tracked with."""
        return _posed(head, {name: getattr(self, name) for name in HEAD_PARAMETERS})


def track_portrait(source: ImageSource, head: HeadData | None = None) -> TrackedPortrait:
    """Find the largest face of a photo, cut it out, and fit a head (the open head by default) to it.

    Raises ``UserError`` for a picture that cannot be read and for a face that cannot be tracked.
    """
    head = open_head() if head is None else head
    crop = crop_portrait(read_photo(source))
    with ThreadPoolExecutor(1) as pool:
        fine = pool.submit(fine_matte, crop)  # as long as everything else together
        face = found(refine_face(crop.rgb, crop.centre))
        model = LandmarkModel(head)
        fit = fit_head(model, face, CROP_SIZE)
        notes = (*crop.notes, *border_notes(crop, face), *pose_notes(fit.R), *doubt_notes(face))
        offset = residual_offset(head, model, fit, CROP_SIZE)
        coarse = coarse_matte(crop)
    person = cleaned_matte(crop, fine.result(), coarse, face.points)
    tracked = _assemble(head, crop, face, fit, offset, person, (*notes, *hair_notes(crop, person)))
    check_error(tracked.landmark_error)
    return tracked


def _assemble(
    head: HeadData,
    crop: PortraitCrop,
    face: FaceLandmarks,
    fit: HeadFit,
    offset: np.ndarray,  # [V, 3]
    matte: np.ndarray,  # [512, 512]
    notes: tuple[str, ...],
) -> TrackedPortrait:
    """FLAME's parameters of a fit, and how well the posed mesh itself meets the landmarks."""
    expression, jaw, eyes = flame_from_arkit(head, fit.units)
    # The fit turns the head about the origin of its own space, FLAME about the root joint.
    rest = head.v_template + head.shapedirs @ np.concatenate([fit.shape, expression]).astype(np.float32) + offset
    root = head.J_regressor[0] @ rest
    parameters = {
        "shape": fit.shape,
        "expression": expression,
        "jaw_pose": jaw,
        "eyes_pose": eyes,
        "rotation": Rotation.from_matrix(fit.R).as_rotvec(),
        "translation": fit.t + fit.R @ root - root,
        "static_offset": offset,
    }
    parameters = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    viewmat = np.eye(4, dtype=np.float32)
    viewmat[:3, :3] = CV_FROM_FLAME
    middle = CROP_SIZE / 2
    K = np.array([[fit.focal, 0, middle], [0, fit.focal, middle], [0, 0, 1]], np.float32)
    camera = Camera(viewmat, K, CROP_SIZE, CROP_SIZE)
    vertices = _posed(head, parameters)
    projected = camera.project(landmark_points(head, vertices))[0]
    return TrackedPortrait(
        rgb=crop.rgb,
        matte=matte,
        landmarks=face.points[:, :2],
        blendshapes=face.blendshapes,
        camera=camera,
        landmark_error=landmark_error(projected, face.points, landmark_embedding(head)),
        notes=notes,
        **parameters,
    )


def _posed(head: HeadData, parameters: dict[str, np.ndarray]) -> np.ndarray:  # [V, 3]
    with torch.no_grad():
        output = head_model(head)(**{name: torch.from_numpy(value)[None] for name, value in parameters.items()})
    return output.vertices[0].numpy()
